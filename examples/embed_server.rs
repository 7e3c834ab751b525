//! An axum application with a pool of its own serves locks beside its own pages. Run it with:
//! cargo run --release --features server --example embed_server

use std::{
    error::Error,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use pgmutex::{
    MutexId, Mutexes,
    axum::{self, Router, extract::State, routing::get},
    pool_for_url,
    private_server::database_url_or_private,
    server,
};
use tokio::{net::TcpListener, task::spawn_blocking};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome {
    let (url, _server) = database_url_or_private()?;
    // The pool that the application works with; the locks live in the same database as its data.
    let mutexes = Mutexes::new(pool_for_url(&url)?);
    mutexes.migrate().await?;

    let app = Router::new()
        .route("/report", get(report))
        .with_state(mutexes.clone())
        .nest("/locks", server::router(mutexes.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });

    println!("The application's own page:\n");
    says(address, "/report", "written").await?;

    println!("\nA script elsewhere locks the printer, and another one finds it locked:\n");
    let locked = says(address, "/locks/canhaz/office/printer?id=script", "token").await?;
    says(address, "/locks/canhaz/office?id=other", "script").await?;
    let token = locked
        .split('"')
        .find(|part| part.len() == 36)
        .ok_or("no token")?;
    let unlock = format!("/locks/nowant/office/printer?token={token}");
    says(address, &unlock, "true").await?;
    mutexes.shutdown().await;
    Ok(())
}

/// A page of the application's that works behind a mutex.
async fn report(State(mutexes): State<Mutexes>) -> String {
    let written = async {
        let id = MutexId::new("reports", "write", "2026-11")?;
        let token = mutexes.lock(&id).with(async |guard| guard.fencing_token());
        Ok::<_, pgmutex::Error>(format!("written under token {}", token.await?))
    };
    written.await.unwrap_or_else(|error| error.to_string())
}

/// Sends a request as a script would, shows the answer, and checks what it says.
async fn says(address: SocketAddr, path: &str, expected: &str) -> Outcome<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let answer = spawn_blocking(move || -> Outcome<String> {
        let mut connection = TcpStream::connect(address)?;
        connection.write_all(request.as_bytes())?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer)
    })
    .await??;
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    println!("      GET {path}\n      {body}");
    match body.contains(expected) {
        true => Ok(body.to_owned()),
        false => Err(format!("{path} was to say {expected}").into()),
    }
}
