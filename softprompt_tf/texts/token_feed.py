"""Token arrays given to `fit` and `evaluate` where Keras does not run on TensorFlow, which texts would need."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from softprompt_tf.keras_backend import require_tensorflow
from softprompt_tf.texts.feed import Feed
from softprompt_tf.texts.text_arguments import check_has_rows, check_no_class_weight
from softprompt_tf.texts.text_rows import holds_texts


class TokenFeed:
    """Does as `TextFeed` does for token arrays, and refuses texts.

    Every method raises `BackendError` for texts, and `DataError` for class weights, as token ids have no classes.
    """

    def training(
        self, x: Any, y: Any = None, sample_weight: Any = None, *, class_weight: Any = None, **others: Any
    ) -> tuple[Feed, Feed | None]:
        """Return the feed of `fit`; Keras itself takes the part for validation."""
        check_no_class_weight(class_weight)
        return self.evaluation(x, y, sample_weight), None

    def evaluation(self, x: Any, y: Any = None, sample_weight: Any = None, **others: Any) -> Feed:
        """Return the feed of `evaluate`."""
        _refuse_texts(x)
        check_has_rows(x)
        return Feed(x, y, sample_weight, is_batched=False)

    def validation(self, data: Any, **others: Any) -> Feed:
        """Return the feed of `validation_data`: `(x, y)` or `(x, y, weights)`."""
        parts = data if isinstance(data, (tuple, list)) else (data,)
        return self.evaluation(*parts)

    def one_batch(self, x: Any, y: Any = None, sample_weight: Any = None, *, class_weight: Any = None) -> Feed:
        """Return the feed of `train_on_batch` and `test_on_batch`."""
        check_no_class_weight(class_weight)
        return self.evaluation(x, y, sample_weight)

    def plainly(self, *feeds: Feed | None) -> AbstractContextManager[None]:
        """Do nothing: no graph of TensorFlow stands between the data and an error."""
        return nullcontext()

    def without_texts(self, x: Any, name: str) -> Any:
        """Return the data of a method that answers with logits."""
        _refuse_texts(x)
        return x


def _refuse_texts(x: Any) -> None:
    if holds_texts(x):
        require_tensorflow("Texts")
