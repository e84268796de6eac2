"""Load an export with whatever TensorFlow this environment has, run requests on it and print the answers as JSON.

    python answer.py VERSION_DIRECTORY REQUESTS.json

Needs tensorflow and tensorflow_text, and nothing of this library: an older server knows neither Keras 3 nor us.
REQUESTS.json is a list of [signature, {input: list of strings}].
"""

import json
import sys

import tensorflow as tf
import tensorflow_text as tf_text


def main(directory, requests):
    model = tf.saved_model.load(directory)
    answers = []
    for signature, inputs in requests:
        outputs = model.signatures[signature](**{name: tf.constant(values) for name, values in inputs.items()})
        answers.append({name: plain(value.numpy().tolist()) for name, value in outputs.items()})
    versions = {"tensorflow": tf.__version__, "tensorflow_text": tf_text.__version__}
    print(json.dumps({"versions": versions, "answers": answers}))


def plain(value):
    """Turn bytes into text, deep inside lists too."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value


if __name__ == "__main__":
    with open(sys.argv[2], encoding="utf-8") as file:
        main(sys.argv[1], json.load(file))
