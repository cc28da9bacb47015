"""A conversation with tools that every client of a translated format is driven through: two calls at once, then one after
the other. The simulator reads from the prompt what it is to call."""

CITY = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {"city": {"type": "string", "minLength": 1}},
    "required": ["city"],
    "additionalProperties": False,
}
ERRANDS = (
    'call get_weather {"city":"Oslo"} and call get_time {"city":"Oslo"}, '
    'then call get_weather {"city":"Rome"}, then call get_time {"city":"Rome"}'
)
# What is called at each step; the last is an answer in words.
ERRANDS_BY_STEP = [
    [("get_weather", "Oslo"), ("get_time", "Oslo")],
    [("get_weather", "Rome")],
    [("get_time", "Rome")],
    [],
]
ALL_ERRANDS = [call for step in ERRANDS_BY_STEP for call in step]
# Part of the last answer.
LAST_RESULT = "get_time Rome: fine"


def run_errand(name: str, city: str) -> str:
    return f"{name} {city}: fine"
