//! The services and the clients, against each other.

use std::time::Duration;

use meshspan_kit::client::{Connection, Http2Client, Request};
use meshspan_kit::service::{RawUpstream, Service, Step};

#[test]
fn the_echo_says_what_it_got() {
    let service = Service::start().unwrap();
    let response = Request::get("/a?b=c")
        .header("X-Twice", "1")
        .header("x-twice", "2")
        .header("x-odd", b"\xff\xfe")
        .send(service.address())
        .unwrap();
    let body = response.json().unwrap();
    assert_eq!((body["method"].as_str(), body["target"].as_str()), (Some("GET"), Some("/a?b=c")));
    let head = service.last_request().unwrap();
    assert_eq!(head.values("x-twice"), ["1", "2"]);
    assert_eq!(head.headers.iter().find(|(name, _)| name == "x-odd").unwrap().1, b"\xff\xfe");
    assert_eq!(head.version, "HTTP/1.1");
}

#[test]
fn every_endpoint_does_its_own_over_http_1() {
    let service = Service::start().unwrap();
    let get = |path: &str| Request::get(path).send(service.address()).unwrap();
    assert_eq!(get("/status/418").status, 418);
    assert_eq!(get("/slow?ms=1").text(), "slow");
    assert_eq!(get("/stream?chunks=3&bytes=5").body.len(), 15);
    let trailers = Request::get("/trailers").header("te", "trailers").send(service.address()).unwrap();
    assert_eq!(trailers.trailers, [("x-trailer".to_owned(), b"last".to_vec())]);
    let consumed = Request::new("POST", "/consume").body("12345").send(service.address()).unwrap();
    assert_eq!(consumed.text(), "5");
    let head = Request::new("HEAD", "/").send(service.address()).unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
    let broken = get("/reset");
    assert_eq!((broken.status, broken.truncated), (200, true));
}

#[test]
fn http_2_works_on_the_same_port() {
    let service = Service::start().unwrap();
    let mut client = Http2Client::connect(service.address()).unwrap();
    let echo = client.get("/x", &[("x-odd", b"\xff")]).unwrap();
    assert_eq!(echo.status, 200);
    assert_eq!(service.last_request().unwrap().version, "HTTP/2.0");
    let trailers = client.get("/trailers", &[]).unwrap();
    assert_eq!(trailers.trailers["x-trailer"], "last");
    client.get("/reset", &[]).unwrap_err();
}

#[test]
fn the_raw_upstream_keeps_every_byte() {
    let upstream = RawUpstream::start().unwrap();
    let mut connection = Connection::open(upstream.address()).unwrap();
    let requests = [
        Request::get("/").header("X-Case", b"\x80 value"),
        Request::new("POST", "/with/body").body("abc"),
        Request::get("/after"),
    ];
    for request in &requests {
        assert_eq!(connection.request(request).unwrap().body, b"ok");
    }
    let heads = upstream.heads();
    assert_eq!(heads[0], requests[0].bytes());
    assert_eq!(heads[1], requests[1].bytes().strip_suffix(b"abc").unwrap());
    assert_eq!(heads[2], requests[2].bytes());
}

#[test]
fn the_raw_upstream_answers_what_no_server_would() {
    let hints = RawUpstream::early_hints().unwrap();
    let response = Request::get("/").send(hints.address()).unwrap();
    assert_eq!((response.interim.as_slice(), response.status), ([103].as_slice(), 200));

    let upgrading = RawUpstream::upgrading().unwrap();
    let mut connection = Connection::open(upgrading.address()).unwrap();
    let request = Request::get("/").header("connection", "upgrade").header("upgrade", "websocket");
    assert_eq!(connection.request(&request).unwrap().status, 101);
    connection.write(b"hello").unwrap();
    assert_eq!(connection.read_bytes(5).unwrap(), b"hello");

    let half = vec![Step::Write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec()), Step::Close];
    let whole = vec![Step::Write(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())];
    let upstream = RawUpstream::following_each(vec![half, vec![Step::Reset], whole]).unwrap();
    let send = || Request::get("/").send(upstream.address());
    let first = send().unwrap();
    assert_eq!((first.truncated, first.text().as_str()), (true, "half"));
    send().unwrap_err();
    assert_eq!(send().unwrap().status, 204);
}

#[test]
fn an_aborted_request_reaches_the_service_as_its_head_alone() {
    let service = Service::start().unwrap();
    let mut connection = Connection::open(service.address()).unwrap();
    connection.write(b"POST /consume HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc").unwrap();
    service.wait_for_requests(1, Duration::from_secs(10)).unwrap();
    connection.abort();
    assert_eq!(service.requests().len(), 1);
}
