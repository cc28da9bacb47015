"""Writes the databases of these fixtures anew, all made up: python3 tests/import/generate.py (needs `cryptography`)."""

import hashlib
import json
import pathlib
import sqlite3

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HERE = pathlib.Path(__file__).parent


def key(n):
    return f"AIzaTestKey{n:04}CanaryCanaryCanary"


def database(name, script, rows):
    path = HERE / name
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    connection.executescript(script)
    for table, values in rows:
        marks = ",".join("?" * len(values))
        connection.execute(f"INSERT INTO {table} VALUES ({marks})", values)
    connection.commit()
    connection.execute("VACUUM")
    connection.close()


database(
    "snailyp.db",
    """
    CREATE TABLE t_settings (id INTEGER PRIMARY KEY, key VARCHAR(100) NOT NULL UNIQUE, value TEXT,
        description VARCHAR(255), created_at DATETIME, updated_at DATETIME);
    CREATE TABLE t_request_log (id INTEGER PRIMARY KEY, request_time DATETIME, model_name VARCHAR(100),
        api_key VARCHAR(100), is_success BOOLEAN, status_code INTEGER, latency_ms INTEGER);
    """,
    [
        ("t_settings", (n, name, value, None, None, None))
        for n, (name, value) in enumerate(
            [
                ("API_KEYS", json.dumps([key(3), key(4)])),
                ("ALLOWED_TOKENS", json.dumps(["sk-CanaryTokenOfTheDatabase-01"])),
                ("MAX_FAILURES", "7"),
                ("TIME_OUT", "120"),
                ("THINKING_BUDGET_MAP", "{}"),
            ],
            1,
        )
    ]
    + [("t_request_log", (1, "2026-11-01 10:00:00", "gemini-2.5-flash", key(9), 1, 200, 12))],
)


def gpt_load(name, seal):
    database(
        name,
        """
        PRAGMA journal_mode = WAL;
        CREATE TABLE groups (id INTEGER PRIMARY KEY, name TEXT, channel_type TEXT, upstreams JSON, proxy_keys TEXT);
        CREATE TABLE api_keys (id INTEGER PRIMARY KEY, key_value TEXT, group_id INTEGER, status TEXT, notes TEXT);
        CREATE TABLE system_settings (id INTEGER PRIMARY KEY, setting_key TEXT, setting_value TEXT);
        """,
        [
            ("groups", (1, "gemini", "gemini", json.dumps([{"url": "https://generativelanguage.googleapis.com", "weight": 1}]), "sk-CanaryProxyKeyOfOneGroup-01,sk-CanaryProxyKeyOfOneGroup-02")),
            ("groups", (2, "others", "openai", json.dumps([{"url": "https://api.openai.com", "weight": 1}]), "sk-CanaryProxyKeyOfAnother-001")),
            ("api_keys", (1, seal(key(0)), 1, "active", "first account")),
            ("api_keys", (2, seal(key(1)), 1, "active", "first account")),
            ("api_keys", (3, seal(key(2)), 1, "invalid", key(2))),
            ("api_keys", (4, seal("sk-CanaryCanaryCanaryCanary"), 2, "active", "")),
            ("system_settings", (1, "proxy_keys", "sk-CanaryProxyKeyOfAllGroups-01")),
            ("system_settings", (2, "app_url", "http://localhost:3001")),
        ],
    )


gpt_load("gpt-load.db", lambda text: text)

nonces = iter(range(1, 1000))
sealing = AESGCM(hashlib.pbkdf2_hmac("sha256", b"made-up encryption key", b"gpt-load-encryption-v1", 100_000, 32))


def seal(text):
    nonce = next(nonces).to_bytes(12, "big")
    return (nonce + sealing.encrypt(nonce, text.encode(), None)).hex()


gpt_load("gpt-load-sealed.db", seal)
