"""What every section of a config has in common: typed keys, none unknown, none changed after they are read."""

from pydantic import BaseModel, ConfigDict

WHOLE_NUMBER = "a whole number above 0"


class Section(BaseModel):
    """Frozen; an unknown key is an error; no value is turned into another type, except whole numbers into floats."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
