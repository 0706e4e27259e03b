"""The judge: metrics, intervals, the gain over no transfer, calibration, the label curve, the verdict."""
