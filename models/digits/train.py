"""Train the digits classifier and write ``digits.tflite`` (full int8).

Run it in a virtual environment of its own; TensorFlow is no dependency of the project and exists only for x86_64::

    python3.11 -m venv /tmp/digits-venv
    /tmp/digits-venv/bin/pip install tensorflow-cpu==2.21.0 scikit-learn==1.9.1 keras==3.15.1 numpy pillow
    /tmp/digits-venv/bin/python -m models.digits.train --out models/digits

Data: ``heldout.py``. 1,347 images train; the 450 held out are never seen by training or by the choice of quantisation
ranges. The network sees pixel / 255. The representative data spans 0 to 1, so the
input is quantised with scale 1/255 and zero point -128: the int8 tensor is the pixel minus 128, exactly.

Seeds are fixed and TensorFlow's deterministic kernels are on: a second run with the same versions on the same machine
gives the same bytes. Across machines only the accuracy is comparable; the committed file is what the tests measure.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
import tensorflow as tf

from models.digits.heldout import SEED, split

EPOCHS = 60


def network() -> tf.keras.Model:
    """Return the untrained network: two 3x3 convolutions, one pooling, one hidden layer; 11,034 weights."""
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            layers.Input((8, 8, 1), name="image"),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.25, seed=SEED),
            layers.Dense(32, activation="relu"),
            layers.Dense(10, activation="softmax", name="probability"),
        ]
    )


def fit(pixels: np.ndarray, labels: np.ndarray) -> tf.keras.Model:
    """Return the network trained on ``pixels`` with one-pixel shifts as augmentation."""
    tf.keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    shifted = [np.roll(pixels, shift, axis) for axis in (1, 2) for shift in (-1, 1)]
    images = np.concatenate([pixels, *shifted])[..., None].astype(np.float32) / 255
    targets = np.concatenate([labels] * 5).astype(np.int32)
    model = network()
    schedule = tf.keras.optimizers.schedules.CosineDecay(3e-3, EPOCHS * (len(images) // 64 + 1))
    model.compile(tf.keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(images, targets, batch_size=64, epochs=EPOCHS, verbose=0)
    return model


def to_int8(model: tf.keras.Model, pixels: np.ndarray) -> bytes:
    """Return the full-int8 flatbuffer; ranges come from 300 training images and one full-range ramp."""

    def representative() -> object:
        yield [np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 8, 8, 1)]
        for image in pixels[:300]:
            yield [image[None, ..., None].astype(np.float32) / 255]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def accuracy(flatbuffer: bytes, pixels: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of ``pixels`` that the int8 model labels correctly."""
    interpreter = tf.lite.Interpreter(model_content=flatbuffer)
    interpreter.allocate_tensors()
    source, sink = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    hits = 0
    for image, label in zip(pixels, labels, strict=True):
        interpreter.set_tensor(source, (image.astype(np.int16) - 128).astype(np.int8)[None, ..., None])
        interpreter.invoke()
        hits += int(interpreter.get_tensor(sink).argmax() == label)
    return hits / len(labels)


def main() -> None:
    """Train, convert, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for digits.tflite")
    out: Path = parser.parse_args().out
    train_x, held_x, train_y, held_y = split()
    model = fit(train_x, train_y)
    flatbuffer = to_int8(model, train_x)
    float_accuracy = model.evaluate(held_x[..., None].astype(np.float32) / 255, held_y, verbose=0)[1]
    print(f"held-out accuracy: float {float_accuracy:.4f}, int8 {accuracy(flatbuffer, held_x, held_y):.4f}")
    print(f"train accuracy: int8 {accuracy(flatbuffer, train_x, train_y):.4f}; {len(flatbuffer)} bytes")
    (out / "digits.tflite").write_bytes(flatbuffer)


if __name__ == "__main__":
    main()
