"""What tables call the tasks that were measured, in the order of their columns."""

TASK_NAMES = {
    "trec": "TREC",
    "ag_news": "AG News",
    "sst2": "SST-2",
    "rte": "RTE",
    "superglue_boolq": "BoolQ",
    "squad": "SQuAD",
    "subj": "Subj",
}
