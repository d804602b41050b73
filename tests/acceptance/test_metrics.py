"""What Prometheus sees of an agent at work: each metric is on the page of operations, and moves with its matter."""

import time

import pytest
from support.agent import eventually
from support.certificates import Authority
from support.exposition import families, told, values
from support.ports import free_port
from support.xrays import radiograph, send

STRANGER = "calling AE title not recognized"


@pytest.fixture(scope="module")
def site(shared_agent, shared_pacs, shared_ris, alarming_bundle, tmp_path_factory):
    """A whole agent, with TLS, syslog to nobody, a second bundle, and a log that was verified once."""
    authority = Authority(tmp_path_factory.mktemp("pki"))
    certificate, key = authority.issue("triage", days=200)
    tls = f'[dicom.tls]\ncertificate = "{certificate}"\nkey = "{key}"\nca = "{authority.ca}"\nport = {free_port()}\n'
    syslog = f'[audit]\nsyslog = "tcp://127.0.0.1:{free_port()}"\n'
    running = shared_agent(
        bundle=alarming_bundle,
        pacs_port=shared_pacs.port,
        ris_port=shared_ris.port,
        start=False,
        tables=tls + syslog,
    )
    running.start(wait=False)
    eventually(running.ready)
    eventually(lambda: running.cli("audit", "verify").returncode == 0, every=1.0)  # once all is sealed
    return running


def seen(site):
    return values(site.get("metrics")[1])


@pytest.fixture(scope="module")
def moved(site):
    """What was seen before and after a day's happenings, and what they were."""
    before = seen(site)
    image = radiograph(seed=1)
    for _ in range(2):
        assert list(send(site.port, image).values()) == [0x0000]
    assert list(send(site.port, radiograph(StudyInstanceUID=None)).values()) == [0xA900]
    assert send(site.port, image, calling="STRANGER") == {}
    site.settled(image.StudyInstanceUID)
    eventually(lambda: seen(site)["triage_ready"] == 1)
    return before, eventually(lambda: after if gone(after := seen(site)) else None), image


def gone(now):
    return now.get('triage_time_to_delivery_seconds_count{destination="ris",kind="hl7-oru"}', 0) >= 1


@pytest.mark.parametrize(
    ("series", "by"),
    [
        ('triage_received_images_total{outcome="new",peer="pacs"}', 1),
        ('triage_received_images_total{outcome="duplicate",peer="pacs"}', 1),
        ('triage_received_images_total{outcome="invalid",peer="pacs"}', 1),
        ('triage_store_answers_total{status="0x0000"}', 2),
        ('triage_store_answers_total{status="0xA900"}', 1),
        (f'triage_rejected_associations_total{{reason="{STRANGER}"}}', 1),
        ('triage_assessed_images_total{outcome="scored"}', 1),
        ("triage_decode_seconds_count", 1),
        ("triage_scoring_seconds_count", 1),
        ("triage_flagged_studies_total", 1),
        ("triage_time_to_flag_seconds_count", 1),
        ("triage_time_to_report_seconds_count", 1),
        ('triage_decided_studies_total{finding="abnormal"}', 1),
        ('triage_deliveries_total{destination="pacs",outcome="sent"}', 1),
        ('triage_time_to_delivery_seconds_count{destination="pacs",kind="sr"}', 1),
        ('triage_worklist_status{status="delivered"}', 1),
    ],
)
def test_a_count_moves_by_what_happened(moved, series, by):
    before, after, _ = moved
    assert after[series] - before.get(series, 0) == by


def test_bytes_are_counted_by_who_sent_them_and_a_copy_counts_too(moved):
    _, after, image = moved
    assert after['triage_received_bytes_total{peer="pacs"}'] > 2 * len(image.PixelData)


def test_scores_and_calls_of_the_model_are_told_by_bundle(moved, site):
    _, after, _ = moved
    (bundle,) = {name.split('"')[1] for name in after if name.startswith("triage_scores_count")}
    assert after[f'triage_scores_count{{bundle="{bundle}"}}'] == 1
    assert after[f'triage_scores_bucket{{bundle="{bundle}",le="0.9"}}'] == 0, "0.99 lies above"
    assert after[f'triage_scores_bucket{{bundle="{bundle}",le="1.0"}}'] == 1
    calls = after[f'triage_model_seconds_count{{bundle="{bundle}"}}']
    assert calls == after[f'triage_batch_images_sum{{bundle="{bundle}"}}'] == 2, "the built-in image, and ours"
    assert bundle in site.item(moved[2].StudyInstanceUID)["bundle"]


def test_times_are_of_this_study(moved):
    _, after, _ = moved
    assert 0 < after["triage_time_to_flag_seconds_sum"] < 120
    assert after["triage_time_to_report_seconds_sum"] >= 0.5, "the quiet period is in it"


def test_the_machine_is_told_of(moved):
    _, after, _ = moved
    assert after["triage_worklist_up"] == after["triage_ready"] == 1
    assert after['triage_part_ready{part="database"}'] == after['triage_part_ready{part="model"}'] == 1
    assert 0 < after["triage_disk_free_percent"] <= 100
    days = (after['triage_certificate_expires_timestamp_seconds{certificate="own"}'] - time.time()) / 86400
    assert 198 < days < 201
    assert after["triage_audit_broken"] == 0
    assert time.time() - after["triage_audit_verified_timestamp_seconds"] < 600
    assert after["triage_quarantine_files"] == 0, "looked at once a minute"


def test_what_metrics_show_stands_in_the_table_of_the_page_and_nothing_else_does(moved, site):
    shown, page = families(site.get("metrics")[1]), told()
    elsewhere = {name for name in page if "object_store" in name or "write_ahead" in name}  # this site has none
    assert {name: kind for name, (kind, _) in shown.items()} == {
        name: one.kind for name, one in page.items() if name not in elsewhere
    }
    wrong = {name: labels ^ page[name].labels for name, (_, labels) in shown.items() if labels - page[name].labels}
    assert wrong == {}


def test_no_patient_stands_in_any_of_it(moved, site):
    _, _, image = moved
    text = site.get("metrics")[1]
    for value in (image.PatientName, image.PatientID, image.AccessionNumber, image.StudyInstanceUID, "STRANGER"):
        assert f'"{value}"' not in text
    assert image.StudyInstanceUID not in text


def test_what_waits_is_told_by_priority_by_a_listener_alone(shared_agent, shared_pacs):
    """Nobody takes it up: a listener of its own, with what a database of its own says."""
    listener = shared_agent(bundle="/no/bundle", role="listener", pacs_port=shared_pacs.port, quiet=0.2)
    send(listener.port, radiograph(seed=7, RequestedProcedurePriority="STAT"))
    send(listener.port, radiograph(seed=8))
    waiting = 'triage_backlog_studies{priority="%s"}'
    eventually(lambda: seen(listener)[waiting % "stat"] == seen(listener)[waiting % "routine"] == 1)
    assert seen(listener)['triage_backlog_oldest_seconds{priority="stat"}'] > 0
    assert seen(listener)['triage_pending_deliveries{destination="pacs"}'] == 0
    assert list(families(listener.get("metrics")[1])) != []
    assert next(name for name in seen(listener) if name.startswith("triage_info")).startswith(
        'triage_info{serves="listener"'
    )
