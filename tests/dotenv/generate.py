"""Writes reference.json: what python-dotenv makes of many texts, made up by hand and by chance.

    python3 -m venv /tmp/dotenv && /tmp/dotenv/bin/pip install python-dotenv==1.2.4 && /tmp/dotenv/bin/python tests/dotenv/generate.py

The table is part of the project, so that its tests need no Python."""

import json, logging, os, pathlib, random, tempfile

from dotenv.main import DotEnv
from dotenv.parser import parse_stream

ENVIRONMENT = {"SET": "from the environment", "EMPTY": "", "HOME_URL": "http://x"}
BY_HAND = r"""
A=b
A = b
A=b c
A=b c   # comment
A=b#c
A=#c
A= # c
A=	# c
A="b # c" # d
A='b # c'#d
export A=b
export	A = b
export A
export
export=b
exportA=b
A
A=
A=''
A=""
A="b\nc\td\\e\"f\'g\xh\$i"
A='b\nc\\d\'e\"f'
A="b
c
d"
A='b
c'
A="b" c
A="b"c
A="b
A='b
'A B'=c
'A'
''=c
"A"=b
=b
 =b
A B=c
A b
A=b=c==
A=b;c,d|e/f+g
A=it's
A="it's"
A=b'c'd"e"
A=["a", "b"]
FILTERED_MODELS=["a", "b"]
GOOGLE_API_KEYS=k-1, k-2
TITLE=My bot
A=$SET
A=${SET}
A='${SET}'
A="${SET}"
A=${SET}x${SET}
A=${EMPTY}
A=${EMPTY:-default}
A=${MISSING}
A=${MISSING:-default}
A=${MISSING:-}
A=${MISSING:-a b}
A=${MISSING:default}
A=${MISSING-default}
A=${MISSING
A=${}
A=${:-x}
A=\${SET}
A="\${SET}"
A=$${SET}
A=${${SET}}
A={$SET}
A=b\
A=b\nc
A=\
A-B.C=d
1A=b
Ä=ö
A= b
A = b
A#B=c
#A=b
  # A=b
A=b	
A=a\\b
A:b
A: b
- A=b
; A=b
[section]
<<<<<<< HEAD
A=<your key>
A="<your key>"
A=`b c`
A=“b”
"""
TOGETHER = [
    "", "\n", "\ufeffA=b", "\ufeff\nA=b", "A=b\r\nB=c\r\n", "A=b\rB=c", "A=\"b\r\nc\"\r\nB=d", "A=b\nA=c", "A=b\nA", "A\nA=b",
    "A=1\nB=${A}", "B=${A}\nA=1", "SET=mine\nB=${SET}", "A=1\nA=2\nB=${A}\nA=3", "A\nB=${A:-x}", "A=\nB=${A:-x}", "EMPTY=x\nB=${EMPTY}",
    "A=b\n\n\n  \n# c\nB=d", "A='1\n2'\nB=3", "A=\"1\n\n2\" # c\nB=3", "A=\"1\nB=2\nC='3'\nD=4", "A\\\nB=c", "A=b\x0bB=c", "A=b\x0cB=c",
    "A=b\x1cB=c", "A=b\x85B=c", "A=b\u2028B=c", "A=b\x1c#c", "A\x1f=b", "A=b\u3000", "\u3000A=b", "A=\u200bb", "A=b \u00a0# c", "export\u00a0A=b",
    "A=\"\\\\\"\nB=c", "A='\\\\'\nB=c", "A=\"\\\"\nB=c\"", "A='\\'\nB=c'", "A=\"b\\\nc\"", "export export A=b", "export 'A'=b", "export #c", "export =b",
]
PIECES = ["A", "B", "C", "SET", "EMPTY", "export", "export ", "=", "=", "=", " = ", " ", "\t", "#", " #", "'", "'", '"', '"', "\\", "\\n", "\\'", '\\"', "\\\\",
          "\n", "\n", "\n", "\r\n", "\r", "${", "}", ":-", "${A}", "${SET}", "${B:-d}", "$", "b", "c d", "k-1,k-2", "é", "\u00a0", "\x0b", "[", "]", ";"]


def read(text):
    with tempfile.NamedTemporaryFile("w", newline="", encoding="utf-8", suffix=".env") as file:
        file.write(text)
        file.flush()
        with open(file.name, encoding="utf-8") as stream:
            bad = [binding.original.line for binding in parse_stream(stream) if binding.error]
        values = DotEnv(file.name, encoding="utf-8", override=False).dict()
    return {"text": text, "bad_line": bad[0]} if bad else {"text": text, "values": dict(values)}


def main():
    logging.disable(logging.CRITICAL)
    os.environ.clear()
    os.environ.update(ENVIRONMENT)
    chance = random.Random(20261127)
    texts = [line for line in BY_HAND.strip("\n").split("\n")] + [BY_HAND.replace('A="b\n', "")] + TOGETHER
    texts += ["A=" + "".join(chance.choices(PIECES, k=chance.randint(1, 6))) for _ in range(500)]
    texts += ["".join(chance.choices(PIECES, k=chance.randint(1, 14))) for _ in range(900)]
    cases = [read(text) for text in dict.fromkeys(texts)]
    out = pathlib.Path(__file__).with_name("reference.json")
    lines = ",\n".join(json.dumps(case, ensure_ascii=True, separators=(",", ":")) for case in cases)
    out.write_text('{"environment":%s,\n"cases":[\n%s\n]}\n' % (json.dumps(ENVIRONMENT), lines))


main()
