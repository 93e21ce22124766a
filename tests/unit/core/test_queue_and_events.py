"""Jobs and wake-ups through a real broker."""

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from backend.core import events, queue
from backend.core.config import get_settings
from backend.core.db import send_after_commit
from backend.core.ids import new_id
from backend.models import Job, Shop


def run(coroutine):
    """In a thread of its own: the browser tests leave an event loop running in the main one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


@pytest.fixture
def broker(settings):
    client = Redis.from_url(queue.redis_url(settings.broker_url))
    client.delete(*queue.QUEUES)
    yield client
    client.delete(*queue.QUEUES)
    client.close()


def test_a_job_is_sent_with_its_id_and_noted(broker, live_database):
    with live_database.session() as session:
        session.add(shop := Shop(id=new_id("shp"), slug="q", name="Q"))
        job = Job(id=new_id("job"), shop_id=shop.id, kind="render", queue="render", target_id="rnd_1")
        session.add(job)
        send_after_commit(session, job.id, job.queue)
    message = json.loads(broker.lindex("render", 0))
    assert message["headers"]["task"] == queue.TASK
    assert message["headers"]["argsrepr"] == f"['{job.id}']"
    with live_database.read() as session:
        assert session.get(Job, job.id).sent_at is not None


def test_unknown_queue(settings):
    with pytest.raises(ValueError, match="unknown queue"):
        queue.send("job_1", "nowhere", settings)


def test_a_dead_broker_is_noticed_quickly(settings):
    dead = settings.model_copy(update={"broker_url": "redis+socket:///tmp/no-such-hoop.sock"})
    begin = time.monotonic()
    with pytest.raises(Exception, match=r"no-such-hoop|No such file"):
        queue.send("job_1", "io", dead)
    assert time.monotonic() - begin < 8


def test_addresses():
    assert queue.redis_url("redis+socket://:pw@/a/b.sock") == "unix://:pw@/a/b.sock"
    assert queue.redis_url("redis://h:1/0") == "redis://h:1/0"


def test_a_listener_is_woken(settings):
    async def listen():
        seen = []
        async for _ in events.subscribe("job_1", poll_seconds=30):
            seen.append(time.monotonic())
            if len(seen) == 2:
                return seen[1] - seen[0]
            await asyncio.to_thread(events.publish, "job_other", 1)
            await asyncio.to_thread(events.publish, "job_1", 2)

    assert run(asyncio.wait_for(listen(), 20)) < 10


def test_a_burst_is_few_wake_ups(settings):
    async def listen():
        wakes = 0
        begin = time.monotonic()
        async for _ in events.subscribe("job_2", poll_seconds=0.3):
            wakes += 1
            if wakes == 1:
                for number in range(50):
                    events.publish("job_2", number)
            if time.monotonic() - begin > 1:
                return wakes

    assert run(asyncio.wait_for(listen(), 20)) < 20


def test_without_a_broker_listeners_poll_and_senders_go_on(settings, monkeypatch):
    monkeypatch.setenv("HOOP_BROKER_URL", "redis+socket:///tmp/no-such-hoop.sock")
    get_settings.cache_clear()
    events.publish("job_3", 1)

    async def listen():
        count = 0
        async for _ in events.subscribe("job_3", poll_seconds=0.05):
            count += 1
            if count == 3:
                return count

    assert run(asyncio.wait_for(listen(), 20)) == 3
