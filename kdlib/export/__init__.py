"""A trained network as a file that needs no kdlib: ONNX with its preprocessing inside, TorchScript, safetensors.

`kdlib.export.predict` uses such a file with onnxruntime, Pillow and numpy alone; nothing here imports torch for it.
"""
