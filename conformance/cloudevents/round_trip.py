"""Events through the server by the CloudEvents package of PyPI: `write` appends every case in each mode,
`check LANGUAGE` reads in each mode what `LANGUAGE` wrote in each mode, and compares."""

import base64
import json
import os
import pathlib
import sys
from datetime import datetime

import httpx
from cloudevents.core.bindings.http import (
    HTTPMessage,
    from_binary_event,
    from_structured_event,
    to_binary_event,
    to_structured_event,
)
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

CASES = json.loads(pathlib.Path(__file__).with_name("cases.json").read_text())
BATCH = "application/cloudevents-batch+json"
MODES = ("binary", "structured", "batch")
http = httpx.Client(base_url=os.environ["HBUF_URL"])


def payload(case: dict):
    if "base64" in case:
        return base64.b64decode(case["base64"])
    return case.get("json", case.get("text"))


def attributes(case: dict) -> dict:
    given = {name: value for name, value in case.items() if name not in ("name", "json", "text", "base64")}
    if "time" in given:
        given["time"] = datetime.fromisoformat(given["time"].replace("Z", "+00:00"))
    return given | {"specversion": "1.0"}


def write() -> None:
    events = [CloudEvent(attributes=attributes(case), data=payload(case)) for case in CASES]
    for case, event in zip(CASES, events):
        message = to_structured_event(event)
        append("structured", message.headers, message.body)
        # The package writes Python's own True into headers, so it is given what belongs there.
        strings = {name: text_of(value) for name, value in attributes(case).items()}
        message = to_binary_event(CloudEvent(attributes=strings, data=payload(case)))
        append("binary", message.headers, message.body)
    array = b"[" + b",".join(JSONFormat().write(event) for event in events) + b"]"
    append("batch", {"content-type": BATCH}, array)


def append(mode: str, headers: dict, body: bytes) -> None:
    reply = http.post(f"/buffers/python-{mode}", headers=headers, content=body)
    assert reply.status_code == 201, reply.text


def read(buffer: str, mode: str) -> list[CloudEvent]:
    """All events of a buffer."""
    if mode == "batch":
        reply = http.get(f"/buffers/{buffer}/messages", headers={"accept": BATCH})
        assert reply.headers["content-type"] == BATCH, reply.text
        return [JSONFormat().read(CloudEvent, json.dumps(event)) for event in reply.json()]
    accept = {"accept": JSONFormat().get_content_type()} if mode == "structured" else {}
    events = []
    for seq in range(1, len(CASES) + 1):
        reply = http.get(f"/buffers/{buffer}/messages/{seq}", headers=accept)
        assert reply.status_code == 200, reply.text
        message = HTTPMessage(headers=dict(reply.headers), body=reply.content)
        parse = from_structured_event if mode == "structured" else from_binary_event
        events.append(parse(message))
    return events


def check(language: str) -> int:
    count = 0
    for written in MODES:
        for mode in MODES:
            events = read(f"{language}-{written}", mode)
            assert len(events) == len(CASES), (language, written, mode, len(events))
            typed = "binary" not in (written, mode)
            for case, event in zip(CASES, events):
                compare(case, event, typed, (language, written, mode))
                count += 1
    return count


def compare(case: dict, event: CloudEvent, typed: bool, where: tuple) -> None:
    expected = attributes(case)
    if not typed:
        # Headers are strings, whatever they stand for.
        expected = {name: text_of(value) for name, value in expected.items()}
    found = dict(event.get_attributes())
    if language_has_default_type(where, case):
        found.pop("datacontenttype", None)
    assert found == expected, (where, case["name"], found)
    data = event.get_data()
    assert data == payload(case) or (payload(case) is None and not data), (where, case["name"], data)


def text_of(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else value


def language_has_default_type(where: tuple, case: dict) -> bool:
    """The package of npm sends events without data as JSON."""
    return where[0] == "javascript" and "datacontenttype" not in case


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write()
    else:
        print(f"python read {check(sys.argv[2])} events that {sys.argv[2]} wrote")
