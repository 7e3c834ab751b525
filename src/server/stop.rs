/// Returns when the process is asked to end: by Ctrl-C, or by SIGTERM.
pub async fn stop_signal() {
    let asked = async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::error!(%error, "Ctrl-C cannot be waited for");
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut told) => tokio::select! {
                () = asked => {}
                _ = told.recv() => {}
            },
            Err(error) => {
                tracing::error!(%error, "SIGTERM cannot be waited for");
                asked.await;
            }
        }
    }
    #[cfg(not(unix))]
    asked.await;
}
