//! The servers as they are, without the program's clients.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
};

/// What Redis answers to a command.
pub(crate) fn redis(url: &str, command: &str) -> String {
    let mut stream = UnixStream::connect(url.strip_prefix("unix://").unwrap()).unwrap();
    write!(stream, "{command}\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// What etcd's gateway answers to a request.
pub(crate) fn etcd(url: &str, path: &str, request: &str) -> serde_json::Value {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    write!(
        stream,
        "POST /v3/{path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{request}",
        request.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 OK"), "{answer}");
    serde_json::from_str(body).unwrap()
}
