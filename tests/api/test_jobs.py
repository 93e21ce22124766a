"""Jobs over HTTP: look, watch, replay, list, cancel, and only one's own."""

import json
import threading
import time
from datetime import timedelta

import pytest

from backend.jobs import lifecycle


def parsed(text: str) -> list[dict]:
    """Server-sent events as dictionaries with event, id and data."""
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            found.append({"event": fields["event"], "id": int(fields["id"]), "data": json.loads(fields["data"])})
    return found


def claimed(staff, job_id: str) -> lifecycle.Claim:
    with staff.database.session() as session:
        claim = lifecycle.claim(session, job_id, "tests", lease=timedelta(minutes=1))
        assert claim is not None
        lifecycle.begin(session, claim)
    return claim


def test_a_job_is_shown_and_an_etag_saves_the_answer(staff):
    style = staff.style(seed=11)
    answer = staff.client.get(f"/v1/jobs/{style['job']}")
    job = answer.json()
    assert (job["kind"], job["status"], job["attempt"], job["target"]) == ("train", "queued", 0, style["id"])
    assert job["queue_position"] >= 1
    assert job["input"]["seed"] == 11
    assert "reference_key" not in answer.text
    assert job["progress"] == {"stage": None, "step": 0, "total": 0, "eta_s": None, "preview_url": None}
    assert staff.client.get(job["urls"]["target"]).json()["id"] == style["id"]

    again = staff.client.get(f"/v1/jobs/{style['job']}", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    claim = claimed(staff, style["job"])
    with staff.database.session() as session:
        lifecycle.progress(session, claim, stage="stage_one", step=3, total=60, eta_s=12.5)
        lifecycle.preview(session, claim, key="shops/x/preview.webp")
    changed = staff.client.get(f"/v1/jobs/{style['job']}", headers={"If-None-Match": answer.headers["etag"]})
    assert changed.status_code == 200
    progress = changed.json()["progress"]
    assert (progress["stage"], progress["step"], progress["total"], progress["eta_s"]) == ("stage_one", 3, 60, 12.5)
    assert "/media/shops/x/preview.webp?" in progress["preview_url"]


def test_events_are_sent_as_they_happen_and_replayed_behind_the_last_one(staff):
    style = staff.style()
    url = f"/v1/jobs/{style['job']}/events"

    def work() -> None:
        time.sleep(0.3)
        claim = claimed(staff, style["job"])
        with staff.database.session() as session:
            lifecycle.progress(session, claim, stage="pair", step=1, total=1, eta_s=None)
            lifecycle.preview(session, claim, key="shops/x/preview.webp")
        time.sleep(0.3)
        with staff.database.session() as session:
            lifecycle.fail(session, claim, {"type": "t", "title": "No.", "detail": "It did not work."})

    worker = threading.Thread(target=work)
    worker.start()
    # From the very first event on, however late we come.
    answer = staff.client.get(url, headers={"Last-Event-ID": "0"})
    worker.join()
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = parsed(answer.text)
    assert [(event["event"], event["data"].get("status")) for event in events] == [
        ("status", "queued"),
        ("status", "starting"),
        ("status", "processing"),
        ("progress", None),
        ("preview", None),
        ("status", "failed"),
        ("done", "failed"),
    ]
    assert [event["id"] for event in events] == sorted({event["id"] for event in events})
    assert "/media/shops/x/preview.webp?" in events[4]["data"]["url"]
    assert events[-1]["data"]["error"]["detail"] == "It did not work."

    # A connection that broke goes on where it was; one that has everything is told not to come back.
    replay = parsed(staff.client.get(url, headers={"Last-Event-ID": str(events[2]["id"])}).text)
    assert replay == events[3:]
    over = staff.client.get(url, headers={"Last-Event-ID": str(events[-1]["id"])})
    assert (over.status_code, over.content) == (204, b"")
    # Who arrives late sees where it stands; so does one with an id that is none of ours.
    for headers in ({}, {"Last-Event-ID": "x"}):
        late = parsed(staff.client.get(url, headers=headers).text)
        assert late == [events[3], events[4], events[5], events[6]]


def test_a_cancel_is_idempotent(staff):
    style = staff.style()
    url = f"/v1/jobs/{style['job']}/cancel"
    first = staff.client.post(url)
    assert (first.status_code, first.json()["status"]) == (200, "canceled")
    assert staff.client.post(url).json() == first.json()
    assert staff.client.get(f"/v1/styles/{style['id']}").json()["status"] == "canceled"

    running = staff.style()
    claim = claimed(staff, running["job"])
    for _ in range(2):
        job = staff.client.post(f"/v1/jobs/{running['job']}/cancel").json()
        assert (job["status"], job["cancel_requested"]) == ("processing", True)
    with staff.database.session() as session:
        lifecycle.cancel(session, claim)
    assert staff.client.get(f"/v1/jobs/{running['job']}").json()["status"] == "canceled"

    ready = staff.ready_style()
    job = staff.client.post(f"/v1/jobs/{ready['job']}/cancel").json()
    assert (job["status"], job["output"]) == ("succeeded", {"style": ready["id"]})


def test_jobs_are_listed_newest_first(staff):
    styles = [staff.style() for _ in range(3)]
    staff.client.post(f"/v1/jobs/{styles[0]['job']}/cancel")
    page = staff.client.get("/v1/jobs", params={"limit": 2}).json()
    assert [job["id"] for job in page["data"]] == [styles[2]["job"], styles[1]["job"]]
    rest = staff.client.get("/v1/jobs", params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert [job["id"] for job in rest["data"]] == [styles[0]["job"]]
    canceled = staff.client.get("/v1/jobs", params={"status": "canceled", "kind": "train"}).json()
    assert [job["id"] for job in canceled["data"]] == [styles[0]["job"]]


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/events"), ("POST", "/cancel")])
def test_another_shops_job_does_not_exist(staff, new_staff, method, path):
    style = staff.style()
    answer = new_staff().client.request(method, f"/v1/jobs/{style['job']}{path}")
    assert answer.status_code == 404
    assert answer.json()["type"].endswith("/not-found")
    assert staff.client.get(f"/v1/jobs/{style['job']}").json()["status"] == "queued"
