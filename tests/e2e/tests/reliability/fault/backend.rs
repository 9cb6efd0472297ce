//! The backend breaks.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use meshspan_kit::receiver::Behaviour;
use meshspan_kit::wait;

use crate::scenario::{Lost, Scenario};
use crate::stage::{Setting, Stage, Way, long};

/// What is not tried again, while the queue fills: a backend that refuses is not asked more often than one that is away.
const REFUSED: &[&str] = &["refused", "queue_full"];

/// What is tried again until it is too old, while the queue fills.
const EXPIRED: &[&str] = &["expired", "queue_full"];

#[test]
fn refuses_connections() {
    let happens = |stage: &mut Stage, end| {
        stage.backend.take_down();
        stage.watch_books(end)
    };
    Scenario {
        fault: "refuses connections",
        setting: Setting::default(),
        happens: Box::new(happens),
        lost: Lost::Some(EXPIRED),
        exact: false,
        everywhere: true,
    }
    .play();
}

#[test]
fn accepts_connections_and_never_reads() {
    let happens = |stage: &mut Stage, end| {
        stage.backend.take_down();
        // The kernel accepts; nobody ever reads.
        let address = stage.backend.address();
        let deaf = wait::until(Duration::from_secs(10), "the port", || TcpListener::bind(address).ok())?;
        let watched = stage.watch_books(end);
        drop(deaf);
        watched
    };
    Scenario {
        fault: "accepts connections, never reads",
        setting: Setting::default(),
        happens: Box::new(happens),
        lost: Lost::Some(EXPIRED),
        exact: false,
        everywhere: true,
    }
    .play();
}

#[test]
fn never_answers() {
    Scenario::answers("accepts requests, never answers", Behaviour::Hang, Lost::Some(EXPIRED)).everywhere().play();
}

#[test]
fn answers_in_ten_seconds() {
    let behaviour = Behaviour::Delay(Duration::from_secs(10), Box::new(Behaviour::Ok));
    let mut scenario = Scenario::answers("answers in 10 s", behaviour, Lost::Some(&["queue_full"]));
    scenario.setting.timeout = 15_000;
    scenario.play();
}

#[test]
fn asks_to_come_again() {
    let headers = vec![("retry-after".to_owned(), "1".to_owned())];
    let later = Behaviour::HttpStatus { code: 503, headers, body: Vec::new() };
    let throttled =
        Behaviour::GrpcStatus { code: 8, message: "quota".to_owned(), details: meshspan_e2e::retry_info(1_000) };
    let lost = Lost::Some(EXPIRED);
    Scenario::play_all([
        Scenario::answers("503 with `Retry-After: 1` (HTTP)", later, lost).by(Way::Http),
        Scenario::answers("429 (HTTP)", Behaviour::http_status(429), lost).by(Way::Http),
        Scenario::answers("UNAVAILABLE", Behaviour::grpc_status(14, "try later"), lost).everywhere(),
        Scenario::answers("RESOURCE_EXHAUSTED with `RetryInfo`", throttled, lost),
    ]);
}

#[test]
fn refuses_for_good() {
    let partial = Behaviour::PartialSuccess { rejected: 1, message: "one is enough".to_owned() };
    let lost = Lost::Some(REFUSED);
    Scenario::play_all([
        Scenario::answers("RESOURCE_EXHAUSTED without", Behaviour::grpc_status(8, "quota"), lost),
        Scenario::answers("UNAUTHENTICATED", Behaviour::grpc_status(16, "who are you"), lost),
        Scenario::answers("partial success, one span a request refused", partial, Lost::Some(&["rejected"])),
    ]);
}

#[test]
fn resets_in_mid_response() {
    let (reset, lost) = (Behaviour::ResetMidResponse, Lost::Some(EXPIRED));
    Scenario::play_all([
        Scenario::answers("resets in mid-response", reset.clone(), lost).everywhere(),
        Scenario::answers("resets in mid-response (HTTP)", reset, lost).by(Way::Http),
    ]);
}

#[test]
fn answers_garbage() {
    let garbage = |content_type: &str| Behaviour::RawBody {
        content_type: content_type.to_owned(),
        body: vec![0xff, 0x00, 0x9f, 0x92, 0x96],
    };
    let (grpc, http) = (garbage("application/grpc"), garbage("application/x-protobuf"));
    Scenario::play_all([
        Scenario::answers("garbage for a body", grpc, Lost::Some(REFUSED)),
        Scenario::answers("garbage for a body (HTTP)", http, Lost::Unread).by(Way::Http),
    ]);
}

#[test]
fn answers_html() {
    let html = Behaviour::RawBody {
        content_type: "text/html".to_owned(),
        body: b"<!doctype html><title>Welcome</title>It works!".to_vec(),
    };
    Scenario::play_all([
        Scenario::answers("200 with HTML", html.clone(), Lost::Some(REFUSED)),
        Scenario::answers("200 with HTML (HTTP)", html, Lost::Unread).by(Way::Http),
    ]);
}

#[test]
fn has_a_limit_of_size() {
    let limit = Behaviour::SizeLimit(16 << 10);
    Scenario::play_all([
        Scenario::answers("takes at most 16 KiB a message", limit.clone(), Lost::Nothing),
        Scenario::answers("takes at most 16 KiB a request, 413 (HTTP)", limit, Lost::Nothing).by(Way::Http),
    ]);
}

/// Takes the backend down and brings it up again, so long each, until the end or so many times.
fn up_and_down(stage: &mut Stage, time: Duration, end: Instant, times: usize) -> anyhow::Result<()> {
    for _ in 0..times {
        if Instant::now() >= end {
            break;
        }
        stage.backend.take_down();
        stage.watch_books(Instant::now() + time)?;
        stage.backend.bring_up()?;
        stage.watch_books(Instant::now() + time)?;
    }
    Ok(())
}

#[test]
fn goes_up_and_down() {
    let happens = |stage: &mut Stage, end| up_and_down(stage, Duration::from_secs(1), end, usize::MAX);
    Scenario {
        fault: "up and down, a second each",
        setting: Setting::patient(),
        happens: Box::new(happens),
        lost: if long() { Lost::Perhaps(EXPIRED) } else { Lost::Nothing },
        exact: false,
        everywhere: true,
    }
    .play();
}

#[test]
fn is_killed_ten_times() {
    let happens = |stage: &mut Stage, end: Instant| {
        let time = end.saturating_duration_since(Instant::now()) / 20;
        up_and_down(stage, time, end + Duration::from_mins(1), 10)
    };
    Scenario {
        fault: "killed and started again, ten times",
        setting: Setting::patient(),
        happens: Box::new(happens),
        lost: if long() { Lost::Perhaps(EXPIRED) } else { Lost::Nothing },
        exact: false,
        everywhere: true,
    }
    .play();
}
