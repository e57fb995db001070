"""Programs that keep the numbers of many runs: TensorBoard, a csv file, Weights & Biases, MLflow"""
