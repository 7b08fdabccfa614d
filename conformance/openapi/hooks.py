"""What the schema of the API cannot say: whole batches, and names that exclude each other."""

import json

import schemathesis
from hypothesis import strategies as st

TEXT = st.text(alphabet=st.characters(codec="utf-8"), max_size=50)


def request(body: str) -> bytes:
    """One message of an `application/http` batch."""
    content = body.encode()
    return b"POST / HTTP/1.1\r\nhost:\r\ncontent-length: %d\r\n\r\n%s\r\n" % (len(content), content)


def line(body: str) -> str:
    """One message of an NDJSON batch."""
    return json.dumps({"body": body}) + "\n"


def event(payload: str) -> dict:
    """One CloudEvent."""
    own = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
    return own | {"datacontenttype": "text/plain", "data": payload}


schemathesis.openapi.media_type(
    "application/http",
    st.lists(TEXT, min_size=1, max_size=5).map(lambda bodies: b"".join(map(request, bodies))),
)
schemathesis.openapi.media_type(
    "application/x-ndjson",
    st.lists(TEXT, min_size=1, max_size=5).map(lambda bodies: "".join(map(line, bodies)).encode()),
)
schemathesis.openapi.media_type(
    "application/cloudevents+json", TEXT.map(lambda text: json.dumps(event(text)).encode())
)
schemathesis.openapi.media_type(
    "application/cloudevents-batch+json",
    st.lists(TEXT, min_size=1, max_size=5).map(
        lambda texts: json.dumps([event(text) for text in texts]).encode()
    ),
)


def operation_id(case) -> str:
    return case.operation.definition.raw.get("operationId", "")


def names_one_twice(case) -> bool:
    """Two names that differ only in case are one."""
    body = case.body if isinstance(case.body, dict) else {}
    names = body.get("buffers")
    if not isinstance(names, list):
        return False
    names = [name.lower() for name in names if isinstance(name, str)]
    return len(set(names)) < len(names)


@schemathesis.hook
def filter_case(context, case) -> bool:
    """Leaves out what the reference excludes and a schema cannot."""
    headers = {name.lower() for name in (case.headers or {})}
    query = case.query or {}
    if {"x-hbuf-producer", "idempotency-key"} <= headers:
        return False
    if len(headers & {"producer-id", "producer-epoch", "producer-seq"}) in (1, 2):
        return False
    # Headers that nobody knows are passed over, as HTTP has it.
    if "x-schemathesis-unknown-property" in headers:
        return False
    batch = case.media_type in (
        "application/http",
        "application/x-ndjson",
        "application/cloudevents-batch+json",
    )
    if batch and "keep" in query:
        return False
    if batch and headers & {"x-hbuf-key", "x-hbuf-tag", "x-hbuf-deliver-at"}:
        return False
    # Its lines are JSON strings there, and messages elsewhere.
    if operation_id(case) == "putFilter" and case.media_type == "application/x-ndjson":
        return False
    if operation_id(case) == "putTopic" and names_one_twice(case):
        return False
    # Cursors come from replies only.
    if operation_id(case) == "readTopic" and query.get("after", "0") not in ("0", "end"):
        return False
    if "live" in query and "offset" not in query:
        return False
    if case.media_type != "application/x-ndjson" and "lines" in query:
        return False
    # What one reply names `id` is taken for a value of `ids`, which is true or false.
    if isinstance(query.get("ids"), str) and len(query["ids"]) > 5:
        return False
    # Boundary values do not pass `map_query`: nobody waits for messages that do not come.
    wait = str(query.get("wait", ""))
    if wait.isascii() and wait.isdigit() and 0 < int(wait) <= 60:
        return False
    # A stream without end is no case for a request that is awaited.
    return "event-stream" not in str((case.headers or {}).get("accept", ""))


@schemathesis.hook
def map_case(context, case):
    """A filter's body is a list of tags, under a media type that is anything elsewhere."""
    if operation_id(case) == "putFilter" and case.media_type == "text/plain":
        case.body = b"web7\neu-west-1\n"
    return case


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """A stream's path becomes a name of at most 200 bytes, three for each that no name may hold."""
    if path_parameters and isinstance(path_parameters.get("path"), str):
        path_parameters["path"] = path_parameters["path"][:12]
    return path_parameters


@schemathesis.hook
def map_query(context, query):
    """Nobody waits here: streams and long polls have tests of their own."""
    if query and "wait" in query:
        query["wait"] = 0 if isinstance(query["wait"], int) else query["wait"]
    return query
