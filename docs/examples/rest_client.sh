#!/bin/sh
# The REST form of a model server, with curl:
#
#   rest_client.sh http://localhost:8501 t5 sentiment
#
# Prints the state of the versions, an answer to two rows, and an answer to two columns. Stops at the first error with
# the server's words.
set -eu

if [ "$#" -ne 3 ]; then
  echo "usage: rest_client.sh BASE_URL MODEL_NAME TASK_ID" >&2
  exit 2
fi
model="$1/v1/models/$2"
task_id=$3

ask() { curl --silent --show-error --fail-with-body --max-time 30 "$@" && echo; }

# Which versions are there, and are they AVAILABLE?
ask "$model"

# Rows: one object per text, one prediction per object. An empty "status" is a good row.
ask "$model:predict" --data-binary @- << BODY
{
  "signature_name": "classify",
  "instances": [
    {"task_id": "$task_id", "text": "a charming film"},
    {"task_id": "$task_id", "text": "a dull film"}
  ]
}
BODY

# Columns: one list per input, one list per output; without "signature_name" the server generates text.
ask "$model:predict" --data-binary @- << BODY
{"inputs": {"task_id": ["$task_id", "$task_id"], "text": ["a charming film", "a dull film"]}}
BODY
