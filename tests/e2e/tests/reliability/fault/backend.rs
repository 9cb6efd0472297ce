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
fn says_503_with_retry_after() {
    let headers = vec![("retry-after".to_owned(), "1".to_owned())];
    let behaviour = Behaviour::HttpStatus { code: 503, headers, body: Vec::new() };
    Scenario::answers("503 with `Retry-After: 1` (HTTP)", behaviour, Lost::Some(EXPIRED)).by(Way::Http).play();
}

#[test]
fn says_429() {
    let lost = Lost::Some(EXPIRED);
    Scenario::answers("429 (HTTP)", Behaviour::http_status(429), lost).by(Way::Http).play();
}

#[test]
fn says_unavailable() {
    let behaviour = Behaviour::grpc_status(14, "try later");
    Scenario::answers("UNAVAILABLE", behaviour, Lost::Some(EXPIRED)).everywhere().play();
}

#[test]
fn says_resource_exhausted_with_retry_info() {
    let details = meshspan_e2e::retry_info(1_000);
    let behaviour = Behaviour::GrpcStatus { code: 8, message: "quota".to_owned(), details };
    Scenario::answers("RESOURCE_EXHAUSTED with `RetryInfo`", behaviour, Lost::Some(EXPIRED)).play();
}

#[test]
fn says_resource_exhausted() {
    let behaviour = Behaviour::grpc_status(8, "quota");
    Scenario::answers("RESOURCE_EXHAUSTED without", behaviour, Lost::Some(REFUSED)).play();
}

#[test]
fn says_unauthenticated() {
    let behaviour = Behaviour::grpc_status(16, "who are you");
    Scenario::answers("UNAUTHENTICATED", behaviour, Lost::Some(REFUSED)).play();
}

#[test]
fn takes_a_part() {
    let behaviour = Behaviour::PartialSuccess { rejected: 1, message: "one is enough".to_owned() };
    let lost = Lost::Some(&["rejected"]);
    Scenario::answers("partial success, one span a request refused", behaviour, lost).play();
}

#[test]
fn resets_in_mid_response() {
    let lost = Lost::Some(EXPIRED);
    Scenario::answers("resets in mid-response", Behaviour::ResetMidResponse, lost).everywhere().play();
    Scenario::answers("resets in mid-response (HTTP)", Behaviour::ResetMidResponse, lost).by(Way::Http).play();
}

#[test]
fn answers_garbage() {
    let garbage = |content_type: &str| Behaviour::RawBody {
        content_type: content_type.to_owned(),
        body: vec![0xff, 0x00, 0x9f, 0x92, 0x96],
    };
    Scenario::answers("garbage for a body", garbage("application/grpc"), Lost::Some(REFUSED)).play();
    let http = garbage("application/x-protobuf");
    Scenario::answers("garbage for a body (HTTP)", http, Lost::Unread).by(Way::Http).play();
}

#[test]
fn answers_html() {
    let html = Behaviour::RawBody {
        content_type: "text/html".to_owned(),
        body: b"<!doctype html><title>Welcome</title>It works!".to_vec(),
    };
    Scenario::answers("200 with HTML", html.clone(), Lost::Some(REFUSED)).play();
    Scenario::answers("200 with HTML (HTTP)", html, Lost::Unread).by(Way::Http).play();
}

#[test]
fn has_a_limit_of_size() {
    let limit = Behaviour::SizeLimit(16 << 10);
    Scenario::answers("takes at most 16 KiB a message", limit.clone(), Lost::Nothing).play();
    Scenario::answers("takes at most 16 KiB a request, 413 (HTTP)", limit, Lost::Nothing).by(Way::Http).play();
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
