"""Copies of a run's log for TensorBoard, W&B, MLflow and spreadsheets, see `log.to`."""
