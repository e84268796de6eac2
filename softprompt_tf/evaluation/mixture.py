"""Answer as a mixture of prompts: the weighted mean of their likelihoods; and find the weights by maximum likelihood.

    p(answer | text) = sum over the prompts k of weight[k] p_k(answer | text)

Source: Qin & Eisner 2021, arXiv:2104.06599, who learn weights and prompts together; here the prompts are trained before.
"""

from collections.abc import Sequence

import numpy as np

from softprompt_tf.inference.answers import Classification, Generation

MAX_ITERATIONS = 20_000
_SMALLEST_CHANGE = 1e-10  # of the mean log-likelihood, in nats


def mixed_label(answers: Sequence[Classification], weights: np.ndarray) -> Classification:
    """Return the label with the highest weighted mean of N answers' probabilities, with these means.

    Args:
      answers: one of each prompt, with the same labels.
      weights: [N] of sum 1.
    """
    labels = answers[0].labels
    logs = mixed_logs(np.array([answer.log_probabilities for answer in answers]).T, weights)  # [C]
    best = int(np.argmax(logs))
    return Classification(
        label=labels[best], probability=float(np.exp(logs[best])), labels=labels, log_probabilities=tuple(logs.tolist())
    )


def mixed_text(answers: Sequence[Generation], weights: np.ndarray) -> Generation:
    """Return the text with the highest weighted sum of likelihoods of the answers that have it, with the sum's log.

    It is no more than the text's likelihood under the mixture, as prompts that wrote another text are not asked about this one.

    Args:
      answers: one of each prompt.
      weights: [N] of sum 1.
    """
    texts = list(dict.fromkeys(answer.text for answer in answers))
    scores = np.array([answer.score for answer in answers])
    has_text = np.array([[answer.text == text for answer in answers] for text in texts])  # [texts, N]
    logs = mixed_logs(np.where(has_text, scores, -np.inf), weights)
    best = int(np.argmax(logs))
    return Generation(texts[best], float(logs[best]))


def mixed_likelihood(log_likelihoods: Sequence[float], weights: np.ndarray) -> float:
    """Return the log of the weighted mean of N likelihoods."""
    return float(mixed_logs(np.array(log_likelihoods), weights))


def mixed_logs(logs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return log(sum_k weights[k] exp(logs[..., k])) of logs [..., N]."""
    with np.errstate(divide="ignore"):
        return np.logaddexp.reduce(logs + np.log(weights), axis=-1)


def likeliest_weights(log_likelihoods: np.ndarray) -> np.ndarray:
    """Return the weights [N] of sum 1 under which a mixture gives rows the highest likelihood, by EM from equal weights.

    The log-likelihood is concave in the weights, so there is no better one elsewhere.

    Args:
      log_likelihoods: [B, N] of each row's right answer under each prompt, finite.
    """
    weights = np.full(log_likelihoods.shape[1], 1 / log_likelihoods.shape[1])
    before = -np.inf
    for _ in range(MAX_ITERATIONS):
        logs = mixed_logs(log_likelihoods, weights)  # [B]
        if logs.mean() - before < _SMALLEST_CHANGE:
            break
        before = logs.mean()
        weights = np.mean(weights * np.exp(log_likelihoods - logs[:, None]), axis=0)
    return weights / weights.sum()
