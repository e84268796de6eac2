"""A Keras model of one frozen T5 that answers texts: the inference half of `PromptedT5`."""

from collections.abc import Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from softprompt_tf.inference.answers import Classification, Generation
from softprompt_tf.inference.decoding import Sampler, get_sampler
from softprompt_tf.keras_backend import is_tensorflow
from softprompt_tf.methods import PromptMethod
from softprompt_tf.model.prompted_inputs import encode
from softprompt_tf.model.text_model import TextModel
from softprompt_tf.texts.text_rows import is_one_text

if TYPE_CHECKING:
    from softprompt_tf.inference.answering import Answerer
    from softprompt_tf.states.text_states import TextStates
    from softprompt_tf.texts.text_batches import TextBatches


class AnsweringModel(TextModel):
    """Writes, chooses and scores answers; the subclass lends its T5, its method and the limits of its texts."""

    method: PromptMethod
    task_ids: tuple[str, ...] | None
    max_input_tokens: int
    max_target_tokens: int
    target_format: str
    _sampler: Sampler = get_sampler("greedy")

    @property
    def sampler(self) -> Sampler:
        """How `generate` decodes."""
        return self._sampler

    @sampler.setter
    def sampler(self, sampler: str | Sampler) -> None:
        self._sampler = get_sampler(sampler)
        if is_tensorflow():
            self._answerer.sampler = self._sampler

    def generate(self, inputs: str | Sequence[str], *, max_tokens: int | None = None, task_id: Any = None) -> Any:
        """Answer texts with texts: a list for a list, one string for one string.

        Args:
          inputs: one text or several, as the model saw them in training (with the template applied, if there was one).
          max_tokens: where an answer is cut, a sentinel in front not counted. Default `max_target_tokens`.
          task_id: with several tasks, one name or index for all rows or a sequence with one for each.

        Examples:
          >>> answers = model.generate(["a charming film", "a dull film"], max_tokens=4)
          >>> len(answers)
          2
        """
        if is_one_text(inputs):
            return self.generate_scored([inputs], max_tokens=max_tokens, task_id=task_id)[0].text  # type: ignore[list-item]
        return [answer.text for answer in self.generate_scored(inputs, max_tokens=max_tokens, task_id=task_id)]

    def generate_scored(
        self, texts: Sequence[str], *, max_tokens: int | None = None, task_id: Any = None
    ) -> list[Generation]:
        """Answer texts with texts and their scores; arguments as in `generate`."""
        return self._answerer.generate_scored(texts, max_tokens=max_tokens, task_id=task_id)

    def classify(
        self, texts: Sequence[str], *, labels: Sequence[str] | None = None, task_id: Any = None
    ) -> list[Classification]:
        """Choose the most likely label of each text, by the log-probability of the label's complete text.

        Args:
          texts: as in `generate`.
          labels: the label words. Default `self.labels`.
          task_id: as in `generate`.

        Examples:
          >>> answer = model.classify(["a charming film"])[0]
          >>> answer.label
          'positive'
          >>> answer.labels
          ('negative', 'positive')
        """
        return self._answerer.classify(texts, labels=labels, task_id=task_id)

    def score(self, texts: Sequence[str], targets: Sequence[str], *, task_id: Any = None) -> list[float]:
        """Return the log-probability of each target given its text, in nats: of its pieces, of the end of sequence and, in
        the format "sentinel", of the sentinel.

        Examples:
          >>> scores = model.score(["a charming film", "a dull film"], ["positive", "negative"])
          >>> all(score < 0 for score in scores)
          True
        """
        return self._answerer.score(texts, targets, task_id=task_id)

    def answers_from(self, states: "TextStates", *, batches: "TextBatches | None" = None) -> "Answerer":
        """Return what answers texts from their cached states, as `classify`, `score` and `generate_scored` do from texts.

        Args:
          states: of all texts that will be asked, from `StateCache.of`.
          batches: what cuts and tokenizes the texts. Default: the model's.
        """
        from softprompt_tf.states.state_batches import StateTextBatches

        return self.answers_of(StateTextBatches.of(batches or self.text_batches, states))

    def answers_of(self, batches: "TextBatches") -> "Answerer":
        """Return what answers texts that are cut and tokenized in another way, such as at the limits of one of several tasks."""
        from softprompt_tf.inference.answering import Answerer

        run = partial(encode, self.t5, self.prompt_table)
        return Answerer(self.t5, run, batches, labels=self.labels, sampler=self._sampler)

    @cached_property
    def _answerer(self) -> "Answerer":
        return self.answers_of(self.text_batches)
