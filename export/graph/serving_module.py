"""The TensorFlow module of a SavedModel: answer texts [B] with task ids [B].

One frozen T5 and one table of prompts answer every task, rows of different tasks in the same batch. A bad row gets a status
and an answer that means nothing; it never fails its neighbours, as a model server may have merged requests of different
callers. Only TensorFlow's own ops and tensorflow_text's are used, and no XLA ops, which some servers cannot compile.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import tensorflow as tf

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.export.graph.encoded_streams import FOR_ANSWERS, FOR_SCORES, WorthSharing
from softprompt_tf.export.graph.graph_functions import GraphFunctions
from softprompt_tf.export.graph.member_rows import MemberRows, mean_likelihood, vote_for_labels, vote_for_texts
from softprompt_tf.export.graph.served_encoder import EncodedRows, ServedEncoder
from softprompt_tf.export.graph.served_labels import ServedLabels
from softprompt_tf.export.graph.served_mixtures import ServedMixtures
from softprompt_tf.export.graph.served_rows import finite_status, first_of, valid_text, with_a_row, written_answers
from softprompt_tf.export.graph.served_tasks import (
    DEFAULT_MAX_INPUT_TOKENS,
    DEFAULT_MAX_TARGET_TOKENS,
    MAX_SCORED_TOKENS,
    ServedTasks,
)
from softprompt_tf.export.graph.served_texts import ServedTexts
from softprompt_tf.export.graph.task_columns import MEMBERS
from softprompt_tf.export.graph.task_listing import list_tasks
from softprompt_tf.export.graph.task_tables import TaskTables
from softprompt_tf.export.graph.written_texts import written_texts
from softprompt_tf.inference.answers import NO_SCORE
from softprompt_tf.inference.decoding import Greedy, Sampler
from softprompt_tf.texts.text_batches import put_in_front as put_ids_in_front


class _Rows(NamedTuple):
    """A batch of requests, looked up: which task each row asks for, and what is wrong with it ("" if nothing).

    A bad row must cost its neighbours nothing: a row of an unknown task goes as one of a task that is asked anyway, and the text
    of every bad row is empty.
    """

    task: tf.Tensor  # int32 [B]
    text: tf.Tensor  # string [B], valid UTF-8, with the template's text around it
    status: tf.Tensor  # string [B]
    members: MemberRows  # B' rows, one for each prompt that is asked


class ServingModule(tf.Module):
    """Signatures that take a task id.

    Args:
      t5: the frozen T5; its variables are shared, not copied.
      tasks: the tasks; the graph does not depend on them.
      sampler: how answers are decoded. Default greedy.
      table_dtype, row_shapes: how tensors are stored, and which, see `TaskTables`.
    """

    def __init__(
        self,
        t5: FrozenT5,
        tasks: ServedTasks,
        *,
        sampler: Sampler | None = None,
        table_dtype: str = "float32",
        row_shapes: Mapping[str, tuple[int, ...]] | None = None,
    ):
        super().__init__(name="softprompt_tf")
        self._t5 = _Untracked(t5)
        # Tracking a Keras layer beside its variables would store every weight twice, and a tracked Keras variable does not
        # load outside Python; so the plain TensorFlow variables are all that the module knows of the backbone.
        self.backbone_variables = _plain_variables(t5)
        self.tokenizer = t5.graph_tokenizer
        self.tables = TaskTables(tasks, table_dtype=table_dtype, row_shapes=row_shapes)
        self._shared = _Untracked(GraphFunctions.of(t5, sampler or Greedy(), self.tables.row_shapes))

    # === Signatures ===

    def generate(self, task_id: tf.Tensor, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answer with text: `output` [B], its `score` [B] (sum of log-probabilities, nats) and `status` [B]."""
        rows = self._look_up(task_id, text)
        limits = tf.where(rows.status == "", self.tables.of("max_target_tokens", rows.task), 1)
        limits = rows.members.spread(limits)
        encoded = self._encode(rows, FOR_ANSWERS)
        ids, scores = self._shared.value.decode(*encoded.output, *encoded.decoding, limits)
        texts, scores = self._labels.texts(
            encoded.output, rows.task, rows.members, written_texts(self._t5.value, ids), scores
        )
        voted = vote_for_texts(rows.members, texts, scores)
        texts, scores = self._mixtures.texts(rows.task, rows.members, texts, scores, voted)
        return written_answers(texts, scores, rows.status)

    def classify(self, task_id: tf.Tensor, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Choose one of the task's labels.

        Returns:
          `label` [B], its `probability` [B] among the task's labels, `labels` [B, C], `log_probabilities` [B, C]
          (`NO_SCORE` where a task has fewer labels) and `status` [B]. Of an ensemble the label of the majority, and the
          members' mean probabilities.
        """
        rows = self._look_up(task_id, text)
        words, label_ids, is_label = self.tables.labels(rows.task)  # [B, C'], [B, C', U], C' <= C
        has_labels = is_label[:, 0]
        status = first_of(rows.status, tf.where(has_labels, "", "This task has no labels. Ask for `serving_default`."))
        is_label &= (status == "")[:, None]
        members, encoded = rows.members, self._encode(rows, FOR_SCORES)
        scores = self._shared.value.score(*encoded.output, *encoded.decoding, members.spread(label_ids))
        scores = self._labels.scores(encoded.output, rows.task, members, scores)
        is_scored = members.spread(is_label)
        logs = tf.where(is_scored, tf.nn.log_softmax(tf.where(is_scored, scores, NO_SCORE)), -float("inf"))
        best, log_probabilities = self._mixtures.labels(rows.task, members, logs, vote_for_labels(members, logs))
        status = first_of(status, finite_status(log_probabilities, is_label))
        is_label &= (status == "")[:, None]
        words = tf.where(is_label, words, "")
        log_probabilities = tf.where(is_label, log_probabilities, NO_SCORE)
        missing = [[0, 0], [0, self.tables.most_labels() - tf.shape(words)[1]]]
        return {
            "label": tf.gather(words, best, batch_dims=1),
            "probability": tf.exp(tf.gather(log_probabilities, best, batch_dims=1)),
            "labels": tf.pad(words, missing, constant_values=""),
            "log_probabilities": tf.pad(log_probabilities, missing, constant_values=NO_SCORE),
            "status": status,
        }

    def score(self, task_id: tf.Tensor, text: tf.Tensor, target: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the `log_likelihood` [B] of each target given its text, in nats, and `status` [B].

        A target is plain text; what its task's format puts in front is put there here, and is part of the likelihood. Of an
        ensemble it is the mean likelihood.
        """
        rows = self._look_up(task_id, text)
        target, target_status = valid_text(target, "target")
        status = first_of(rows.status, target_status)
        target = tf.where(status == "", target, "")
        ids, _ = self._shared.value.tokenize(target, tf.fill(tf.shape(target), MAX_SCORED_TOKENS + 1))  # [B, U]
        is_long = tf.shape(ids)[1] > MAX_SCORED_TOKENS
        too_long = is_long & (tf.reduce_sum(tf.cast(ids != 0, tf.int32), axis=1) > MAX_SCORED_TOKENS)
        length_status = tf.where(too_long, f"The target must have at most {MAX_SCORED_TOKENS - 1} tokens.", "")
        status = first_of(status, length_status)
        ids = put_ids_in_front(ids, self.tables.of("opening_ids", rows.task))
        members, encoded = rows.members, self._encode(rows, FOR_SCORES)
        target_ids = members.spread(ids)[:, None, :]
        scores = self._shared.value.score(*encoded.output, *encoded.decoding, target_ids)[:, 0]
        scores, label_status = self._labels.targets(encoded.output, rows.task, members, target, scores)
        status = status if label_status is None else first_of(status, label_status)
        scores = self._mixtures.likelihoods(rows.task, members, scores, mean_likelihood(members, scores))
        status = first_of(status, finite_status(scores))
        return {"log_likelihood": tf.where(status == "", scores, NO_SCORE), "status": status}

    def generate_with_prompt(self, prompt: tf.Tensor, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answer with a prompt [B, P, H] that the request brings; the text is taken as it is, with no template."""
        text, status = valid_text(text, "text")
        is_finite = tf.reduce_all(tf.math.is_finite(prompt), axis=[1, 2])
        status = first_of(status, tf.where(is_finite, "", "`prompt` must be finite. Received: NaN or infinity."))
        prompt = tf.where(is_finite[:, None, None], prompt, 0.0)
        encoded = self._encoder.encode_with_prompts(prompt, text, tf.fill(tf.shape(text), DEFAULT_MAX_INPUT_TOKENS))
        limits = tf.fill(tf.shape(text), DEFAULT_MAX_TARGET_TOKENS)
        ids, scores = self._shared.value.decode(*encoded.output, *encoded.decoding, limits)
        return written_answers(written_texts(self._t5.value, ids), scores, status)

    def tasks(self, prefix: tf.Tensor) -> dict[str, tf.Tensor]:
        """List the tasks whose ids begin with each prefix [B]; see `list_tasks`."""
        return list_tasks(self.tables, prefix)

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """Return the signatures; every input and output has the batch as its first dimension.

        The functions are made here and not kept as attributes, which would store each of them a second time.
        """
        return {name: self.signature(name) for name in self._methods}

    def signature(self, name: str) -> tf.types.experimental.ConcreteFunction:
        """Return one of the signatures; nothing of the others is traced."""
        method, inputs = self._methods[name]
        shapes = {"prompt": ([None, None, self._t5.value.hidden_dim], tf.float32)}
        specs = [tf.TensorSpec(*shapes.get(each, ([None], tf.string)), name=each) for each in inputs]
        return tf.function(with_a_row(method), input_signature=specs, autograph=False).get_concrete_function()

    @property
    def _methods(self) -> dict[str, tuple[Callable[..., dict[str, tf.Tensor]], list[str]]]:
        """Signature -> the method that answers, and the names of its inputs."""
        return {
            "serving_default": (self.generate, ["task_id", "text"]),
            "classify": (self.classify, ["task_id", "text"]),
            "score": (self.score, ["task_id", "text", "target"]),
            "generate_with_prompt": (self.generate_with_prompt, ["prompt", "text"]),
            "tasks": (self.tasks, ["prefix"]),
        }

    # === Parts ===

    def _look_up(self, task_id: tf.Tensor, text: tf.Tensor) -> _Rows:
        """Find each row's task and put the task's template around its text."""
        task, task_status = self.tables.find(task_id)
        task = tf.where(task_status == "", task, tf.reduce_max(task))  # unknown ones are 0
        text, text_status = valid_text(text, "text")
        text, marker_status = self._texts_of_tasks.rendered(text, task)
        status = first_of(task_status, text_status)
        if marker_status is not None:
            status = first_of(status, marker_status)
        is_good = status == ""
        counts = tf.where(is_good, self.tables.of(MEMBERS, task), 1)  # a bad row is not worth more than one
        return _Rows(task, tf.where(is_good, text, ""), status, MemberRows.of(counts))

    def _encode(self, rows: _Rows, worth: WorthSharing) -> EncodedRows:
        return self._encoder.encode(rows.text, rows.task, rows.members, worth)

    @property
    def _encoder(self) -> ServedEncoder:
        return ServedEncoder(self.tables, self._shared.value)

    @property
    def _labels(self) -> ServedLabels:
        return ServedLabels(self.tables, self._shared.value)

    @property
    def _mixtures(self) -> ServedMixtures:
        return ServedMixtures(self.tables)

    @property
    def _texts_of_tasks(self) -> ServedTexts:
        return ServedTexts(self.tables, self._shared.value)


class _Untracked:
    """Holds an object where TensorFlow's tracking of attributes does not look."""

    def __init__(self, value):  # type: ignore[no-untyped-def]
        self.value = value


def _plain_variables(t5: FrozenT5) -> list[tf.Variable]:
    """Return each TensorFlow variable of the backbone once."""
    return list({id(variable.value): variable.value for variable in t5.backbone.variables}.values())
