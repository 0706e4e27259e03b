"""Prompts and completions in the forms in which tables hold them."""

import json

import pytest

from headstart.checking import check_data
from headstart.data.prompts import WHOLE, as_prompt, chat_of, parted, prompt_columns, prompt_of
from headstart.data.read import read_examples
from headstart.errors import DataError
from headstart.tasks import registry

CHAT = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        (("prompt", "completion"), "prompt"),
        (("id", "Prompt", "Completion"), "Prompt"),
        (("instruction", "input", "output"), "instruction,input"),
        (("instruction", "output"), "instruction"),
        (("id", "messages"), "messages"),
        (("text", "label"), None),
        (("prompt", "label"), None),
    ],
)
def test_columns_are_known_by_their_names(columns, name):
    found = prompt_columns(columns)
    assert (None if found is None else found.name) == name


def test_a_row_to_complete_is_read_as_one_to_learn_from():
    assert prompt_of({"instruction": "Sort", "input": float("nan")}, "instruction,input") == "Sort"
    assert prompt_of({"instruction": "Sort", "input": True}, "instruction,input") == "Sort\n\ntrue"
    assert prompt_of({"instruction": "Sort", "input": ["b", "a"]}, "instruction,input") == 'Sort\n\n["b", "a"]'


def test_an_instruction_and_its_input_stand_apart_and_no_input_adds_nothing():
    assert as_prompt("Sort.", " b, a ") == "Sort.\n\nb, a"
    assert as_prompt("Sort.", "  ") == "Sort."


def test_a_chat_is_its_prompt_and_its_last_answer():
    prompt, answer = parted(chat_of(json.dumps(CHAT)))
    assert json.loads(prompt) == CHAT[:2] and answer == "hello"
    assert parted(chat_of(CHAT[:2])) == (json.dumps(CHAT[:2]), "")
    other = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]
    assert chat_of(str(CHAT)) == CHAT  # as pandas leaves it in a CSV
    assert chat_of(other) == [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]


@pytest.mark.parametrize("cell", ["plain", "[1, 2]", '[{"role": "user"}]', "[", "[]", None, [{"role": 1, "content": "x"}]])
def test_what_is_no_chat_is_none(cell):
    assert chat_of(cell) is None


def test_the_prompt_to_be_completed_is_read_from_the_columns_of_training():
    assert prompt_of({"instruction": "Sort.", "input": "b, a"}, "instruction,input") == "Sort.\n\nb, a"
    assert prompt_of({"instruction": "Sort.", "input": None}, "instruction,input") == "Sort."
    assert json.loads(prompt_of({"messages": CHAT}, "messages")) == CHAT[:2]
    assert json.loads(prompt_of({"messages": CHAT[:2]}, "messages")) == CHAT[:2]
    assert prompt_of({"messages": "no chat"}, "messages") == ""
    assert prompt_of({"prompt": "x"}, "prompt") is None  # a column like any other


def test_tables_of_prompts_are_recognised_and_read(tmp_path):
    plain = read_examples(write(tmp_path / "a.jsonl", [{"prompt": "2 + 2 =", "completion": "4"}])).examples
    asked = read_examples(write(tmp_path / "b.jsonl", [{"instruction": "Sort.", "input": "b, a", "output": "a, b"}])).examples
    chats = read_examples(write(tmp_path / "c.jsonl", [{"messages": CHAT}])).examples
    assert (plain.texts, plain.labels) == (("2 + 2 =",), ("4",))
    assert (asked.texts, asked.labels) == (("Sort.\n\nb, a",), ("a, b",))
    assert (json.loads(chats.texts[0]), chats.labels) == (CHAT[:2], ("hello",))
    told = [registry.recognise_task(examples) for examples in (plain, asked, chats)]
    assert [task.name for task, _ in told] == ["generation"] * 3
    assert [why for _, why in told] == [
        "'prompt' and 'completion' are called as prompts and completions are",
        "'instruction,input' and 'output' are called as prompts and completions are",
        "'messages' holds chats",
    ]


def test_a_completion_may_be_messages_of_a_chat(tmp_path):
    answer, call = {"role": "assistant", "content": "hello"}, {"role": "assistant", "content": "wait"}
    pairs = [(CHAT[:2], [answer]), (CHAT[:2], [call, answer]), (CHAT[:2], [call, CHAT[1]]), ("hi", [answer])]
    pairs += [("json?", '[{"a": 1}]'), ("x", "")]
    rows = [{"prompt": prompt, "completion": completion} for prompt, completion in pairs]
    found = read_examples(write(tmp_path / "a.jsonl", rows)).examples
    assert [json.loads(text) for text in found.texts[:3]] == [CHAT[:2], [*CHAT[:2], call], [*CHAT[:2], call, CHAT[1]]]
    assert found.labels == ("hello", "hello", "", "hello", '[{"a": 1}]', "") and found.texts[3:] == ("hi", "json?", "x")


def test_what_is_wrong_with_chats_is_told_with_its_rows(tmp_path):
    path = write(tmp_path / "c.jsonl", [{"messages": CHAT}, {"messages": CHAT[:2]}, {"messages": [{"role": "user"}]}])
    read = read_examples(path)
    message = f"1 row of {path!r} has no list of messages in 'messages', each with a role and a content that is text."
    assert [(found.message, found.rows) for found in read.findings] == [(message, (3,))]
    checked = check_data(path, text=None, label=None, test=None, validation=None, source=None, max_length=64)
    told = [(found.kind, found.message, found.rows) for found in checked.result.findings]
    assert ("empty label", "2 rows have no completion.", (2, 3)) in told  # said once
    assert len([rows for _, _, rows in told if 2 in rows]) == 1


def test_rows_without_any_completion_are_refused(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"prompt": "2 + 2 =", "completion": " "}])
    with pytest.raises(DataError) as refused:
        registry.get_task("generation").prepare(read_examples(path).examples, None)
    assert str(refused.value) == f"No row of {path!r} has a completion in 'completion'; name its column with --label."


@pytest.mark.parametrize("cell", [CHAT[:2], "[{'role': 'user', 'content': 'x'}]", [{"role": "assistant", "content": None}]])
def test_chats_without_any_answer_are_refused(tmp_path, cell):
    path = write(tmp_path / "a.jsonl", [{"messages": cell}])
    with pytest.raises(DataError) as refused:
        registry.get_task("generation").prepare(read_examples(path).examples, None)
    assert str(refused.value) == (
        f"No row of {path!r} holds a chat in 'messages' that ends with an answer of the assistant; write each as a JSON list of "
        '{"role": ..., "content": ...}, contents as text, the last of the role "assistant".'
    )


# --- plain texts ---


def put(path, content):
    path.write_text(content, encoding="utf-8")
    return str(path)


def test_a_plain_file_is_paragraphs_under_the_numbers_of_their_first_lines(tmp_path):
    path = put(tmp_path / "house.txt", "\ufeffFirst line,\nand more.\n\n \nThe second: a, b\r\n\n\nThird\0 one\n")
    read = read_examples(path)
    assert read.examples.texts == ("First line,\nand more.", "The second: a, b", "Third one")
    assert read.examples.rows == (1, 5, 8) and set(read.examples.labels) == {WHOLE}
    assert [(found.kind, found.rows) for found in read.findings] == [("NUL bytes", (8,))]
    task, why = registry.recognise_task(read.examples)
    assert (task.name, why) == ("generation", "it holds plain text")


def test_a_plain_file_without_blank_lines_is_a_text_on_each_line(tmp_path):
    read = read_examples(put(tmp_path / "lines.txt", "one, two\nthree\n"))
    assert read.examples.texts == ("one, two", "three") and read.examples.rows == (1, 2)


@pytest.mark.parametrize(
    "content",
    ["text,label\na b,x\nc d,y\n", "said\tlabel\na b\tx\nc d\ty\n", '{"text": "a b", "label": "x"}\n{"text": "c d", "label": "y"}'],
)
def test_a_table_under_the_name_of_a_plain_file_stays_a_table(tmp_path, content):
    examples = read_examples(put(tmp_path / "table.txt", content), text=None if "said" not in content else "said").examples
    assert examples.texts == ("a b", "c d") and examples.labels == ("x", "y")


def test_one_column_is_learnt_whole_where_texts_are_asked_for(tmp_path):
    path = put(tmp_path / "one.csv", "said\na b\nc d\n")
    with pytest.raises(DataError) as refused:
        read_examples(path)
    assert str(refused.value) == f"{path!r} has only the column 'said'; it must hold a text and a label."
    assert read_examples(path, whole=True).examples.texts == ("a b", "c d")


def test_a_plain_file_without_a_text_is_refused(tmp_path):
    path = put(tmp_path / "odd.txt", "\n\n \n")
    with pytest.raises(DataError) as refused:
        read_examples(path)
    assert str(refused.value) == f"{path!r} is empty; it must hold texts."


def test_plain_texts_called_as_chats_are_stay_texts_beside_their_labels(tmp_path):
    plain = tmp_path / "sms.csv"
    plain.write_text("messages,label\nsee you at home,ham\nwin a prize now,spam\n")
    chats = write(tmp_path / "chats.jsonl", [{"messages": CHAT, "label": "good"}])
    found = [read_examples(plain).examples, read_examples(plain, label="label").examples, read_examples(chats).examples]
    assert [each.label_column for each in found] == ["label", "label", "messages"]
    assert (found[0].texts, found[0].labels) == (("see you at home", "win a prize now"), ("ham", "spam"))
    assert [registry.recognise_task(each)[0].name for each in found] == ["classification", "classification", "generation"]
