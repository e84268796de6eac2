"""A functional Keras model of one frozen T5 that is fitted on texts: the training half of `PromptedT5`.

Its arguments are those of `keras.Model`. Texts become token dictionaries.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from softprompt_tf.keras_backend import is_tensorflow, require_tensorflow
from softprompt_tf.model.compiled_parts import check_needs_no_fit, with_own_callback
from softprompt_tf.model.trained_model import TrainedModel
from softprompt_tf.texts.feed import Feed, check_had_rows, tell_all, with_telling
from softprompt_tf.texts.text_arguments import check_has_rows
from softprompt_tf.texts.token_feed import TokenFeed

if TYPE_CHECKING:
    from softprompt_tf.states.state_cache import StateCache
    from softprompt_tf.texts.text_feed import TextFeed


class TextModel(TrainedModel):
    """Trains and measures `PromptedT5` on texts, which lends its `t5`, `text_batches` and `labels`."""

    @property
    def _feed(self) -> "TextFeed | TokenFeed":
        if not is_tensorflow():
            return TokenFeed()
        from softprompt_tf.texts.text_feed import TextFeed

        return TextFeed(self.text_batches, self.labels)

    def _feed_on(self, cached_states: Any) -> "TextFeed | TokenFeed":
        """Return the feed, whose texts in memory bring cached states where they are asked for."""
        if cached_states is False or cached_states is None:
            return self._feed
        require_tensorflow("Cached states")
        from softprompt_tf.states.fed_states import feed_on_states

        return feed_on_states(self, cached_states)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
        *,
        cached_states: "bool | str | StateCache" = False,
    ) -> Any:
        """Train the prompt as `keras.Model.fit` does; arguments that are not named here are Keras's.

        Args:
          x: token dictionaries, or texts: {"encoder_text": [...], "decoder_text": [...]} (and "task_id", names or indices,
            with several tasks) or a DataFrame with such columns; a list, array or Series of input texts with the targets in `y`;
            or batches of either as a `tf.data.Dataset`, a `PyDataset` or a generator.
          batch_size: rows, for texts in memory. Default 32, or what `steps_per_epoch` steps need to read every row.
          shuffle: for texts in memory: a new order every epoch, from `keras.utils.set_random_seed`, in which rows of similar
            length share a batch.
          validation_split: share of the rows, the last ones, that are validated on; for texts in memory.
          class_weight: label word, or index into `labels`, -> weight of the rows with that target.
          sample_weight: one weight for each row.
          steps_per_epoch: batches an epoch; texts in memory are read again from the start as often as that takes.
          cached_states: for texts in memory and a method that enters late: whether the encoder's layers below it run once for
            each text instead of in every step. True, the dtype that the states are kept in ("float16", which is the default,
            "bfloat16" or "float32"), or a cache from `state_cache`, which several calls and models may share.

        Raises:
          TrainingError: if the method enters at the first layer, or a cache is of another T5 or layer.
          DataError: if the texts or weights do not fit.
          BackboneError: if a weight of the T5 was made trainable, or changed.

        Examples:
          >>> texts, labels = ["a charming film", "a dull film"], ["positive", "negative"]
          >>> history = model.fit(texts, labels, epochs=2, verbose=0)
          >>> sorted(history.history)
          ['label_accuracy', 'loss']
        """
        if validation_data is not None:
            validation_split = 0.0  # as in Keras, whose documentation says that the data wins
        feeds = self._feed_on(cached_states)
        feed, held_out = feeds.training(
            x,
            y,
            sample_weight,
            batch_size=batch_size,
            shuffle=shuffle,
            class_weight=class_weight,
            steps=steps_per_epoch,
            validation_split=validation_split,
            validation_batch_size=validation_batch_size,
            validation_steps=validation_steps,
        )
        if validation_data is not None:
            held_out = feeds.validation(
                validation_data, batch_size=validation_batch_size, else_size=batch_size, steps=validation_steps
            )
        self._assert_compile_called("fit")
        size = validation_batch_size or batch_size
        with self._feed.plainly(feed, held_out):
            history = super().fit(
                feed.x,
                feed.y,
                batch_size=None if feed.is_batched else batch_size,
                epochs=epochs,
                verbose=verbose,
                callbacks=with_own_callback(self, feed.x, with_telling(callbacks, feed, held_out)),
                validation_split=0.0 if feed.is_batched else validation_split,
                validation_data=None if held_out is None else (held_out.x, held_out.y, held_out.sample_weight),
                shuffle=shuffle and not feed.is_batched,
                sample_weight=feed.sample_weight,
                initial_epoch=initial_epoch,
                steps_per_epoch=steps_per_epoch,
                validation_steps=validation_steps,
                validation_batch_size=None if held_out is None or held_out.is_batched else size,
                validation_freq=validation_freq,
            )
        if history.epoch:
            check_had_rows(feed)
        tell_all(feed, held_out)
        return history

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        *,
        cached_states: "bool | str | StateCache" = False,
        **kwargs: Any,
    ) -> Any:
        """Return loss and compiled metrics as `keras.Model.evaluate` does; texts and `cached_states` as `fit` takes them.

        Examples:
          >>> texts, labels = ["a charming film", "a dull film"], ["positive", "negative"]
          >>> sorted(model.evaluate(texts, labels, verbose=0, return_dict=True))
          ['label_accuracy', 'loss']
        """
        others = {"verbose": verbose, "callbacks": callbacks, "return_dict": return_dict, **kwargs}
        if kwargs.get("_use_cached_eval_dataset"):  # Keras's `fit`, with data that it has been given
            return super().evaluate(x, y, batch_size, sample_weight=sample_weight, steps=steps, **others)
        feed = self._feed_on(cached_states).evaluation(x, y, sample_weight, batch_size=batch_size, steps=steps)
        size = None if feed.is_batched else batch_size
        with self._feed.plainly(feed):
            try:
                results = super().evaluate(
                    feed.x, feed.y, size, sample_weight=feed.sample_weight, steps=steps, **others
                )
            except ValueError as error:
                if "metric has not yet been built" in str(error):  # Keras's word for no batch at all
                    check_had_rows(feed)
                raise
        check_had_rows(feed)
        tell_all(feed)
        return results

    def state_cache(
        self,
        *,
        dtype: str | None = None,
        directory: str | Path | None = None,
        memory_limit: int | None = None,
    ) -> "StateCache":
        """Return an empty cache for `fit(cached_states=...)`, which fills it; models of the same T5 and layer may share it.

        Args:
          dtype: what states are kept in: "float16", "bfloat16" or "float32". Default float16, or bfloat16 where the T5
            computes in that.
          directory: where states are kept for later runs too. Default None: in memory alone.
          memory_limit: bytes. Larger states stay in `directory`; without one, training continues without them. Default 2 GiB.

        Raises:
          TrainingError: if the encoder's first layer sees what the method adds.
          ConfigError: for another dtype.

        Examples:
          >>> late = sp.PromptedT5(t5, sp.late_prompts(length=5), labels=["negative", "positive"])
          >>> cache = late.state_cache(dtype="float32")  # for late.fit(texts, labels, cached_states=cache)
        """
        require_tensorflow("Cached states")
        from softprompt_tf.states.model_states import state_cache_of

        limit = {} if memory_limit is None else {"memory_limit": memory_limit}
        return state_cache_of(self, dtype=dtype, directory=directory, **limit)

    def train_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Take one step on one batch as `keras.Model.train_on_batch` does; texts and weights as `fit` takes them."""
        self._assert_compile_called("train_on_batch")
        check_needs_no_fit(self.optimizer)
        feed = self._feed.one_batch(x, y, sample_weight, class_weight=class_weight)
        with self._feed.plainly(feed):
            results = super().train_on_batch(feed.x, feed.y, feed.sample_weight, return_dict=return_dict)
        self._tell_first(feed)
        return results

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Return loss and metrics of one batch as `keras.Model.test_on_batch` does; texts as `fit` takes them."""
        feed = self._feed.one_batch(x, y, sample_weight)
        with self._feed.plainly(feed):
            results = super().test_on_batch(feed.x, feed.y, feed.sample_weight, return_dict=return_dict)
        self._tell_first(feed)
        return results

    def _tell_first(self, feed: Feed) -> None:
        """Say what was noticed in a batch unless an earlier one had something to say: a loop has many batches."""
        if feed.tell is not None and not getattr(self, "_told_of_a_batch", False):
            self._told_of_a_batch = feed.tell()

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Return logits of token dictionaries as `keras.Model.predict` does; `generate`, `classify` and `score` answer texts."""
        check_has_rows(x)
        return super().predict(self._feed.without_texts(x, "predict"), *args, **kwargs)

    def predict_on_batch(self, x: Any) -> Any:
        """Return logits of one batch of token dictionaries as `keras.Model.predict_on_batch` does."""
        return super().predict_on_batch(self._feed.without_texts(x, "predict_on_batch"))
