"""Small Hugging Face T5s with seeded random weights, in NumPy alone: the parity environment and the tests make the same files.

Each case is a `config.json` as the family's releases have it, scaled down. Weights are drawn so large that a wrong norm, bias,
transpose or activation shows in the logits.
"""

import json
from pathlib import Path

import numpy as np
import safetensors.numpy

BASE = {
    "model_type": "t5",
    "architectures": ["T5ForConditionalGeneration"],
    "is_encoder_decoder": True,
    "vocab_size": 128,
    "d_model": 24,
    "d_kv": 8,
    "d_ff": 48,
    "num_heads": 3,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
    "dropout_rate": 0.1,
    "layer_norm_epsilon": 1e-6,
    "feed_forward_proj": "relu",
    "initializer_factor": 1.0,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
    "use_cache": True,
}
T5_1_1 = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
CASES = {
    "t5_1_0": BASE,  # tied, scaled logits, ReLU
    "t5_1_1": {**BASE, **T5_1_1, "d_kv": 10},  # untied, gated tanh GELU; a head size that is not H / N
    "flan_t5": {**BASE, **T5_1_1, "d_model": 32, "d_kv": 8, "num_heads": 6, "num_layers": 4, "num_decoder_layers": 4},
    "mt5": {**BASE, **T5_1_1, "model_type": "mt5", "architectures": ["MT5ForConditionalGeneration"], "vocab_size": 300},
    "byt5": {**BASE, **T5_1_1, "vocab_size": 384, "num_layers": 3, "num_decoder_layers": 1},
    "other_buckets": {
        **BASE,
        "relative_attention_num_buckets": 12,
        "relative_attention_max_distance": 40,
        "feed_forward_proj": "gated-relu",
        "layer_norm_epsilon": 1e-4,
    },
}
PREFIX_CASES = ("t5_1_0", "flan_t5")  # with two and four layers, of which PEFT ties the first half to the second
MADE_CASE = "t5_1_1"  # under which prompts are compared that PEFT makes from other values
MADE_PROMPTS = ("p_tuning_lstm", "p_tuning_mlp", "mpt")
MADE_DIM = 7  # of P-tuning's networks
MADE_RANK, MADE_TASKS = 2, (1, 0, 1)  # of MPT: the rank, and the task of each input
# Name -> the model, PEFT's config, and its settings: adapters that change modules.
MODULE_ADAPTERS = {
    "t5_1_1_lora": (
        "t5_1_1",
        "LoraConfig",
        {
            "target_modules": ["q", "k", "v", "o"],
            "r": 3,
            "lora_alpha": 7,
            "rank_pattern": {"q": 2, "decoder.block.1.layer.1.EncDecAttention.v": 1},
            "alpha_pattern": {"k": 5, r"SelfAttention\.o": 2},
        },
    ),
    "flan_t5_lora": (
        "flan_t5",
        "LoraConfig",
        {"target_modules": ["q", "v"], "r": 4, "lora_alpha": 6, "use_rslora": True, "layers_to_transform": [1, 3]},
    ),
    "t5_1_0_lora": (
        "t5_1_0",
        "LoraConfig",
        {"target_modules": r".*decoder.*(SelfAttention|EncDecAttention)\.(k|v)", "r": 2, "lora_alpha": 3},
    ),
    "t5_1_1_ia3": ("t5_1_1", "IA3Config", {}),
    "mt5_ia3": ("mt5", "IA3Config", {}),  # the outputs of wi_1, where others have the inputs of wo
    "t5_1_0_ia3": (
        "t5_1_0",
        "IA3Config",
        {
            "target_modules": ["q", "v", "o", "wo"],
            "feedforward_modules": ["wo"],
            "exclude_modules": r"decoder\.block\.1.*\.q",
        },
    ),
}
# Name -> the model, and whether there are bottlenecks behind attentions: Houlsby's two per layer, or Pfeiffer's one.
BOTTLENECKS = {
    "t5_1_1_houlsby": ("t5_1_1", True),
    "flan_t5_houlsby": ("flan_t5", True),
    "t5_1_0_pfeiffer": ("t5_1_0", False),
    "t5_1_0_invertible": ("t5_1_0", False),  # a tied head, whose scale comes before the inverse
}
WITH_INVERTIBLE = ("t5_1_0_invertible",)
BOTTLENECK_DIM = 3
LENGTHS = (512, 17, 1)
NUM_TARGETS = 9
NUM_GENERATED = 16
PROMPT_LENGTH = 5


def weights(case):
    """Draw every weight of a case, by Hugging Face's names, float32."""
    config = CASES[case]
    generator = np.random.default_rng(sorted(CASES).index(case))
    hidden, inner, wide = config["d_model"], config["d_kv"] * config["num_heads"], config["d_ff"]

    def matrix(outputs, inputs):
        return generator.normal(size=(outputs, inputs)) * inputs**-0.5

    def norm():
        return 1.0 + 0.3 * generator.normal(size=hidden)

    drawn = {"shared.weight": generator.normal(size=(config["vocab_size"], hidden))}
    for stack in ("encoder", "decoder"):
        blocks = ["SelfAttention"] if stack == "encoder" else ["SelfAttention", "EncDecAttention"]
        depth = config["num_layers" if stack == "encoder" else "num_decoder_layers"]
        for i in range(depth):
            for k, block in enumerate(blocks):
                at = f"{stack}.block.{i}.layer.{k}"
                for part in "qkv":
                    drawn[f"{at}.{block}.{part}.weight"] = matrix(inner, hidden) * (0.6 if part != "v" else 1.0)
                drawn[f"{at}.{block}.o.weight"] = matrix(hidden, inner)
                drawn[f"{at}.layer_norm.weight"] = norm()
                if i == k == 0:
                    shape = (config["relative_attention_num_buckets"], config["num_heads"])
                    drawn[f"{at}.{block}.relative_attention_bias.weight"] = 1.5 * generator.normal(size=shape)
            at = f"{stack}.block.{i}.layer.{len(blocks)}"
            for part in ("wi_0", "wi_1") if config["feed_forward_proj"].startswith("gated") else ("wi",):
                drawn[f"{at}.DenseReluDense.{part}.weight"] = matrix(wide, hidden)
            drawn[f"{at}.DenseReluDense.wo.weight"] = matrix(hidden, wide)
            drawn[f"{at}.layer_norm.weight"] = norm()
        drawn[f"{stack}.final_layer_norm.weight"] = norm()
    if config.get("tie_word_embeddings", True):
        # Around 0: else a tied head would find the decoder's own input in the states and repeat it for ever.
        drawn["decoder.final_layer_norm.weight"] = 3.0 * generator.normal(size=hidden)
    if config.get("tie_word_embeddings") is False:
        drawn["lm_head.weight"] = generator.normal(size=(config["vocab_size"], hidden))
    return {name: value.astype(np.float32) for name, value in drawn.items()}


def write_model(directory, case):
    """Write a case as a Hugging Face directory; return it."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(CASES[case], indent=2))
    safetensors.numpy.save_file(weights(case), directory / "model.safetensors", metadata={"format": "pt"})
    return directory


def inputs(case):
    """Return token ids [3, 512] and their mask, padded behind, and decoder inputs [3, 9] that begin with the start id."""
    generator = np.random.default_rng(99)
    vocabulary = min(CASES[case]["vocab_size"], 128)
    ids = generator.integers(3, vocabulary, size=(len(LENGTHS), max(LENGTHS)))
    mask = (np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]).astype(np.int64)
    targets = generator.integers(3, vocabulary, size=(len(LENGTHS), NUM_TARGETS))
    targets[:, 0] = 0
    return ids * mask, mask, targets


def prompt(case):
    """Return a prompt [P, H] for the parity with PEFT."""
    generator = np.random.default_rng(7)
    return generator.normal(size=(PROMPT_LENGTH, CASES[case]["d_model"])).astype(np.float32)


def prefix_rows(case):
    """Return what PEFT keeps of a prefix, [P, L * 2 * N * D], for the parity with PEFT."""
    config = CASES[case]
    width = config["num_layers"] * 2 * config["num_heads"] * config["d_kv"]
    return np.random.default_rng(8).normal(size=(PROMPT_LENGTH, width)).astype(np.float32)


def own_prefix(case):
    """Return keys and values [P, L, 2, N, D] of the decoder, of which no two layers have the same."""
    config = CASES[case]
    shape = (PROMPT_LENGTH, config["num_decoder_layers"], 2, config["num_heads"], config["d_kv"])
    return np.random.default_rng(13).normal(size=shape).astype(np.float32)


def module_values(shapes):
    """Return values for an adapter's tensors, by name, of a size at which rounding is far below what is compared."""
    generator = np.random.default_rng(10)
    drawn = {name: 0.15 * generator.normal(size=shapes[name]) for name in sorted(shapes)}
    return {name: (value + ("ia3" in name)).astype(np.float32) for name, value in drawn.items()}


def bottlenecks(name):
    """Return the values of an adapter of `BOTTLENECKS`, by this library's names."""
    case, after_attention = BOTTLENECKS[name]
    config, width = CASES[case], BOTTLENECK_DIM
    hidden, layers = config["d_model"], {"encoder": config["num_layers"], "decoder": config["num_decoder_layers"]}
    places = {f"{stack}_feed_forward_adapter": layers[stack] for stack in layers}
    if after_attention:
        places |= {f"{stack}_attention_adapter": layers[stack] for stack in layers}
        places["cross_attention_adapter"] = layers["decoder"]
    generator, drawn = np.random.default_rng(12), {}
    for place, depth in places.items():
        shapes = {"down": (width, depth, hidden), "down_bias": (width, depth)}
        shapes |= {"up": (width, depth, hidden), "up_bias": (1, depth, hidden)}
        drawn |= {f"{place}.{part}": 0.3 * generator.normal(size=shape) for part, shape in shapes.items()}
    if name in WITH_INVERTIBLE:
        half = hidden // 2
        shapes = {"down": (half // 2, half), "down_bias": (half // 2,), "up": (half // 2, half), "up_bias": (1, half)}
        for part in ("first", "second"):
            drawn |= {f"invertible_adapter.{part}.{end}": 0.3 * generator.normal(size=shapes[end]) for end in shapes}
    return {name: value.astype(np.float32) for name, value in drawn.items()}


def made_prompt(kind):
    """Return the values that a prompt of `MADE_PROMPTS` is made from, by this library's names; of MPT, for two tasks."""
    hidden, width = CASES[MADE_CASE]["d_model"], MADE_DIM
    if kind == "mpt":
        shapes = {"task_left": (2, PROMPT_LENGTH, MADE_RANK), "task_right": (2, MADE_RANK, hidden)}
        shapes = {"shared_rows": (PROMPT_LENGTH, hidden), **shapes}
    elif kind == "p_tuning_mlp":
        layers = {"first": (hidden, width), "hidden": (width, width), "output": (width, hidden)}
        shapes = {"rows": (PROMPT_LENGTH, hidden), **_dense(layers)}
    else:
        shapes = {"rows": (PROMPT_LENGTH, hidden)}
        for layer, inputs in enumerate((hidden, 2 * width)):
            for direction in ("forward", "backward"):
                at = f"lstm_{layer}.{direction}"
                shapes |= {f"{at}.kernel": (inputs, 4 * width), f"{at}.recurrent_kernel": (width, 4 * width)}
                shapes[f"{at}.bias"] = (4 * width,)
        shapes |= _dense({"hidden": (2 * width, 2 * width), "output": (2 * width, hidden)})
    generator = np.random.default_rng(9)
    return {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def _dense(layers):
    return {
        f"{name}.{part}": shape
        for name, (inputs, outputs) in layers.items()
        for part, shape in (("kernel", (inputs, outputs)), ("bias", (outputs,)))
    }


def watched_positions():
    """Return the encoder positions that are kept: all lengths end on one, and the rest is spread over the 512."""
    return np.unique([0, 1, 15, 16, *range(30, 512, 60), 511])
