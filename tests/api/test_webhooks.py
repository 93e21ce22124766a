"""Webhooks: what is written down, how it is sent, and where it is never sent."""

import http.server
import json
import shutil
import ssl
import subprocess
import threading
from datetime import timedelta

import pytest
from sqlalchemy import select, update
from standardwebhooks import Webhook

from backend.core.db import utcnow
from backend.models import WebhookDelivery, WebhookEndpoint
from backend.webhooks import addresses, delivery
from backend.webhooks.addresses import ForbiddenAddress, Target, is_public, pin
from tests.api.conftest import assert_problem

HOOK = "https://shop.example/hooks/hoop?a=1"


def make(staff, **fields) -> dict:
    answer = staff.client.post("/v1/webhooks", json={"url": HOOK, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


def deliveries(staff, webhook, query="") -> list[dict]:
    return staff.client.get(f"/v1/webhooks/{webhook['id']}/deliveries{query}").json()["data"]


def make_due(staff) -> None:
    with staff.database.session() as session:
        session.execute(update(WebhookDelivery).values(next_attempt_at=None))
        session.execute(
            update(WebhookDelivery)
            .where(WebhookDelivery.shop_id == staff.shop_id, WebhookDelivery.status == "pending")
            .values(next_attempt_at=utcnow() - timedelta(seconds=1))
        )


class TestOutbox:
    def test_what_happens_is_written_down(self, staff):
        webhook = make(staff)
        style = staff.ready_style(metadata={"order": "A-1"})
        render = staff.render(style["id"])
        staff.client.post(f"/v1/jobs/{render['job']}/cancel")
        failed = staff.render(style["id"])
        staff.fail(failed["job"])
        done = staff.render(style["id"])
        staff.finish(done["job"])
        lost = staff.style()
        staff.fail(lost["job"])
        found = {row["event"]: row for row in deliveries(staff, webhook)}
        assert set(found) == {
            "style.ready", "style.failed", "render.succeeded", "render.failed", "render.canceled",
        }  # fmt: skip
        payload = found["style.ready"]["payload"]
        assert payload["type"] == "style.ready"
        assert payload["data"]["style"] == style["id"]
        assert payload["data"]["metadata"] == {"order": "A-1"}
        assert found["render.failed"]["payload"]["data"]["error"]["detail"] == "It did not work."
        assert found["style.ready"]["status"] == "pending"

    def test_only_what_is_wanted(self, staff):
        webhook = make(staff, events=["render.failed"])
        staff.ready_style()
        assert deliveries(staff, webhook) == []


class TestManaging:
    def test_secrets_are_shown_once(self, staff):
        webhook = make(staff)
        assert webhook["secret"].startswith("whsec_")
        assert len(webhook["events"]) == 6
        shown = staff.client.get(f"/v1/webhooks/{webhook['id']}").json()
        assert shown == {**webhook, "secret": None}
        rotated = staff.client.post(f"/v1/webhooks/{webhook['id']}/rotate").json()
        assert rotated["secret"] not in {webhook["secret"], None}

    def test_delete(self, staff):
        webhook = make(staff)
        staff.ready_style()
        assert staff.client.delete(f"/v1/webhooks/{webhook['id']}").status_code == 204
        assert_problem(staff.client.get(f"/v1/webhooks/{webhook['id']}"), 404, "not-found")
        with staff.database.read() as session:
            left = session.scalars(select(WebhookDelivery).where(WebhookDelivery.endpoint_id == webhook["id"])).all()
            assert left == []

    def test_not_too_many(self, staff):
        for _ in range(20):
            make(staff)
        assert_problem(staff.client.post("/v1/webhooks", json={"url": HOOK}), 409, "conflict")

    @pytest.mark.parametrize(
        "url",
        [
            "http://shop.example/hook",
            "ftp://shop.example/hook",
            "https://",
            "shop.example/hook",
            "https://user:pw@shop.example/hook",
            "https://shop.example/hook#x",
            "https://shop.example:99999/",
            "https://localhost/hook",
            "https://printer.local/hook",
            "https://127.0.0.1/hook",
            "https://10.0.0.5/hook",
            "https://169.254.169.254/latest/meta-data",
            "https://[::1]/hook",
            "https://[::ffff:127.0.0.1]/hook",
            "https://shop.example/a b",
        ],
    )
    def test_addresses_that_cannot_be_used(self, staff, url):
        problem = assert_problem(staff.client.post("/v1/webhooks", json={"url": url}), 422, "invalid-input")
        assert problem["errors"][0]["field"] == "body.url"

    def test_events_are_checked(self, staff):
        assert_problem(staff.client.post("/v1/webhooks", json={"url": HOOK, "events": ["all"]}), 422, "invalid-input")
        assert_problem(staff.client.post("/v1/webhooks", json={"url": HOOK, "events": []}), 422, "invalid-input")


class TestAddresses:
    @pytest.mark.parametrize(
        "address",
        [
            "127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.1.1", "100.64.0.1", "224.0.0.1",
            "255.255.255.255", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1",
            "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "64:ff9b:1::1", "2001:db8::1", "not an address",
        ],
    )  # fmt: skip
    def test_private(self, address):
        assert not is_public(address)

    @pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
    def test_public(self, address):
        assert is_public(address)

    def test_one_private_address_among_public_ones_is_enough(self):
        assert pin(HOOK, lambda *_: ["8.8.8.8"]) == Target("shop.example", 443, "8.8.8.8", "/hooks/hoop?a=1")
        for found in (["8.8.8.8", "10.0.0.1"], ["127.0.0.1"], []):
            with pytest.raises(ForbiddenAddress):
                pin(HOOK, lambda *_, found=found: found)

    def test_names_that_do_not_resolve(self):
        with pytest.raises(ForbiddenAddress):
            pin("https://nowhere.invalid/")


@pytest.fixture(scope="module")
def receiver(tmp_path_factory):
    """A real https server; `answers` says what it answers next, `received` what it got."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-subj", "/CN=shop.example",
         "-addext", "subjectAltName=DNS:shop.example"],
        check=True,
        capture_output=True,
    )  # fmt: skip

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            server.received.append((self.path, dict(self.headers), body))
            status, headers = server.answers.pop(0) if server.answers else (204, {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if status != 204:
                self.wfile.write(b"no thanks")

        def log_message(self, *_args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.received, server.answers = [], []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.trusted = ssl.create_default_context(cafile=str(folder / "cert.pem"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


class TestSending:
    @pytest.fixture(autouse=True)
    def _clean(self, receiver):
        receiver.received.clear()
        receiver.answers.clear()

    def send(self, staff, receiver, *, host: str = "shop.example") -> int:
        make_due(staff)
        port = receiver.server_address[1]
        return delivery.deliver_due(
            staff.database,
            pin_address=lambda _url: Target(host, port, "127.0.0.1", "/hooks/hoop?a=1"),
            context=receiver.trusted,
        )

    def test_signed_as_the_standard_says(self, staff, receiver):
        webhook = make(staff)
        style = staff.ready_style()
        assert self.send(staff, receiver) == 1
        ((path, headers, body),) = receiver.received
        assert path == "/hooks/hoop?a=1"
        payload = Webhook(webhook["secret"]).verify(body, headers)
        assert payload["data"]["style"] == style["id"]
        (row,) = deliveries(staff, webhook)
        assert (row["status"], row["attempts"], row["response_status"]) == ("delivered", 1, 204)
        assert headers["webhook-id"] == row["message_id"]
        assert self.send(staff, receiver) == 0

    def test_after_a_rotation_both_secrets_sign(self, staff, receiver):
        webhook = make(staff)
        new = staff.client.post(f"/v1/webhooks/{webhook['id']}/rotate").json()["secret"]
        staff.ready_style()
        self.send(staff, receiver)
        _, headers, body = receiver.received[0]
        for secret in (webhook["secret"], new):
            Webhook(secret).verify(body, headers)
        with staff.database.session() as session:
            session.execute(
                update(WebhookEndpoint)
                .where(WebhookEndpoint.id == webhook["id"])
                .values(previous_secret_expires_at=utcnow() - timedelta(seconds=1))
            )
        (row,) = deliveries(staff, webhook)
        path = f"/v1/webhooks/{webhook['id']}/redeliver"
        assert staff.client.post(path, json={"delivery": row["id"]}).status_code == 202
        self.send(staff, receiver)
        _, again, _ = receiver.received[1]
        assert again["webhook-id"] == headers["webhook-id"]
        assert " " not in again["webhook-signature"]

    def test_tried_again_later(self, staff, receiver):
        webhook = make(staff)
        staff.ready_style()
        receiver.answers.append((500, {}))
        self.send(staff, receiver)
        (row,) = deliveries(staff, webhook, "?status=pending")
        assert (row["attempts"], row["response_status"], row["response_excerpt"]) == (1, 500, "no thanks")
        assert row["next_attempt_at"] is not None
        self.send(staff, receiver)
        assert deliveries(staff, webhook)[0]["status"] == "delivered"

    def test_given_up_in_the_end(self, staff, receiver):
        webhook = make(staff)
        staff.ready_style()
        with staff.database.session() as session:
            session.execute(
                update(WebhookDelivery)
                .where(WebhookDelivery.shop_id == staff.shop_id)
                .values(attempts=len(delivery.DELAYS))
            )
        receiver.answers.append((503, {}))
        self.send(staff, receiver)
        (row,) = deliveries(staff, webhook)
        assert (row["status"], row["next_attempt_at"]) == ("failed", None)

    def test_redirects_are_not_followed(self, staff, receiver):
        webhook = make(staff)
        staff.ready_style()
        receiver.answers.append((302, {"Location": "https://169.254.169.254/"}))
        self.send(staff, receiver)
        assert deliveries(staff, webhook)[0]["error"] == "The address answered 302."
        assert len(receiver.received) == 1

    def test_gone_switches_off(self, staff, receiver):
        webhook = make(staff)
        staff.ready_style()
        receiver.answers.append((410, {}))
        self.send(staff, receiver)
        assert staff.client.get(f"/v1/webhooks/{webhook['id']}").json()["disabled_at"] is not None
        (row,) = deliveries(staff, webhook)
        assert row["status"] == "failed"
        # Sending again switches it on.
        staff.client.post(f"/v1/webhooks/{webhook['id']}/redeliver", json={"delivery": row["id"]})
        assert staff.client.get(f"/v1/webhooks/{webhook['id']}").json()["disabled_at"] is None

    def test_the_certificate_must_be_of_the_name(self, staff, receiver):
        webhook = make(staff)
        staff.ready_style()
        self.send(staff, receiver, host="bank.example")
        (row,) = deliveries(staff, webhook)
        assert "certificate" in row["error"].lower()
        assert receiver.received == []

    def test_nobody_there(self, staff):
        webhook = make(staff)
        staff.ready_style()
        make_due(staff)
        delivery.deliver_due(staff.database, pin_address=lambda _url: Target("shop.example", 9, "127.0.0.1", "/"))
        assert deliveries(staff, webhook)[0]["error"].startswith("No answer")

    def test_never_into_a_private_network(self, staff):
        webhook = make(staff)
        staff.ready_style()
        make_due(staff)
        inside = lambda url: addresses.pin(url, lambda *_: ["10.0.0.1"])  # noqa: E731
        assert delivery.deliver_due(staff.database, pin_address=inside) == 1
        assert "private network" in deliveries(staff, webhook)[0]["error"]

    def test_two_senders_send_once(self, staff, receiver):
        make(staff)
        staff.ready_style()
        make_due(staff)
        port = receiver.server_address[1]

        def send():
            delivery.deliver_due(
                staff.database,
                pin_address=lambda _url: Target("shop.example", port, "127.0.0.1", "/"),
                context=receiver.trusted,
            )

        threads = [threading.Thread(target=send) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(receiver.received) == 1
        assert json.loads(receiver.received[0][2])["type"] == "style.ready"

    def test_of_another_webhook(self, staff):
        webhook, other = make(staff), make(staff, events=["render.failed"])
        staff.ready_style()
        (row,) = deliveries(staff, webhook)
        path = f"/v1/webhooks/{other['id']}/redeliver"
        assert_problem(staff.client.post(path, json={"delivery": row["id"]}), 404, "not-found")
