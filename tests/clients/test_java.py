"""Java's own HTTP client, which offers HTTP/2 on every plain connection: what is not served is passed over, and no request
is lost by it."""

import subprocess

from conftest import TIMEOUT_S, TOKEN, program

REQUESTS = 200
SOURCE = "java/Posts.java"


def test_no_post_of_a_java_client_is_lost(demo, request):
    java = program("java", "default-jdk-headless")
    source = request.path.parent / SOURCE
    ran = subprocess.run(
        [java, source, f"{demo.url}/v1/chat/completions", TOKEN, str(REQUESTS)],
        capture_output=True,
        text=True,
        timeout=8 * TIMEOUT_S,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [f"whole: {REQUESTS}"]
