"""What is asked of each row: settings that all workers share and that a resumed job must have again."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from softprompt_tf.errors import ConfigError
from softprompt_tf.export.bulk.choices import BATCH_SIZE, SIGNATURES
from softprompt_tf.export.graph.served_tasks import ServedTask
from softprompt_tf.settings.spelling import nearest
from softprompt_tf.tasks.template import Template

ANSWER_FIELDS = {
    "classify": ("label", "probability"),
    "generate": ("text", "score"),
    "score": ("log_likelihood",),
}


@dataclass(frozen=True)
class AnswerSettings:
    """How rows are asked.

    Args:
      task: the task of all rows. None where each row names its own in `task_field`.
      signature: one of `SIGNATURES`; "auto" classifies where the task has labels, and generates where it has none.
      task_field, text_field, target_field: the fields of a row; the target is what "score" scores.
      templates: task id -> the template that fills the text from several fields.
      prefix: what the names of the answer's fields begin with.
      log_probabilities: whether the log-probability of every label is written.
      batch_size: rows of one run of the model.
    """

    task: str | None = None
    signature: str = "auto"
    task_field: str = "task"
    text_field: str = "text"
    target_field: str = "target"
    templates: Mapping[str, str] = field(default_factory=dict)
    prefix: str = "answer_"
    log_probabilities: bool = False
    batch_size: int = BATCH_SIZE

    def __post_init__(self) -> None:
        if self.signature not in SIGNATURES:
            raise ConfigError(f"`signature` must be one of {', '.join(SIGNATURES)}. Received: {self.signature!r}.")
        if self.batch_size < 1:
            raise ConfigError(f"`batch_size` must be a whole number above 0. Received: {self.batch_size}.")
        names = (self.task_field, self.text_field, self.target_field, self.prefix)
        for text in (*names, *self.templates, *self.templates.values()):
            if any("\ud800" <= character <= "\udfff" for character in text):
                raise ConfigError(f"A setting must be valid Unicode. Received: {ascii(text)[:80]}.")
        for task, template in self.templates.items():
            try:
                Template(template, "{target}")
            except ConfigError as error:
                raise ConfigError(f"The template of task {task!r}: {error}") from None


@dataclass(frozen=True)
class AskedTask:
    """A task of the export, as rows are asked for it.

    Args:
      signature: "classify", "generate" or "score".
      template: fills the text from the row's fields; None where the row has it in its text field.
    """

    signature: str
    template: Template | None


def asked_tasks(settings: AnswerSettings, served: Mapping[str, ServedTask]) -> dict[str, AskedTask]:
    """Return how rows of each task of the export are asked.

    Raises:
      ConfigError: if a task that the settings name is not in the export, or cannot be asked so.
    """
    for name in (*settings.templates, *([settings.task] if settings.task is not None else [])):
        if name not in served:
            raise ConfigError(f"The export must have the task. Received: {name!r}.{nearest(name, served)}")
    if settings.task is not None and settings.signature == "classify" and not served[settings.task].labels:
        raise ConfigError(f"Only a task with labels can classify. Received: {settings.task!r}. Use `generate`.")
    names = served if settings.task is None else [settings.task]
    return {name: _asked(settings, served[name]) for name in names}


def answer_fields(settings: AnswerSettings, tasks: Mapping[str, AskedTask]) -> list[str]:
    """Return the names of the answer's fields, in the order in which they are written."""
    used = {task.signature for task in tasks.values()}
    names = ["row", "task", *(name for kind, names in ANSWER_FIELDS.items() if kind in used for name in names)]
    if settings.log_probabilities and "classify" in used:
        names.append("log_probabilities")
    return [settings.prefix + name for name in names]


def _asked(settings: AnswerSettings, task: ServedTask) -> AskedTask:
    signature = settings.signature
    if signature == "auto":
        signature = "classify" if task.labels else "generate"
    template = settings.templates.get(task.task_id)
    return AskedTask(signature, None if template is None else _sent_template(template, task))


def _sent_template(text: str, task: ServedTask) -> Template:
    """Return what is rendered here: for a task whose template the export applies, the field alone.

    Raises:
      ConfigError: if the export puts other text around a request than this template does.
    """
    template, served = Template(text, "{target}"), (task.text_before, task.text_after)
    if served == ("", ""):
        return template
    if template.affixes() not in (served, ("", "")):
        raise ConfigError(
            f"A template must be that of the task, or a field alone. Received for task {task.task_id!r}: {text!r}. The export "
            f"puts {served[0]!r} before a text and {served[1]!r} after it."
        )
    return Template(f"{{{template.input_fields[0]}}}", "{target}")
