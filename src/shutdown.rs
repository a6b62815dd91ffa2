//! From signals to the end of the process.
//!
//! SIGINT and SIGTERM (Ctrl-C on Windows) fire one [`CancellationToken`], and so does a stdout whose reader is gone:
//! then the CLI has died without a signal. Everything stops on that token; `main` ends the process when the server
//! has stopped. A thread of its own watches, so that busy workers cannot delay it, and it ends the process itself when
//! the orderly way takes longer than [`HARD_EXIT`]. The exit status is 0 both ways: to be told to stop is not a failure.

use std::{io, sync::mpsc, thread, time::Duration};
use tokio_util::sync::CancellationToken;

/// How long after the first signal the process may live. The CLI kills after 5 s, Docker after 10 s; users expect to
/// wait less than a second.
pub const HARD_EXIT: Duration = Duration::from_millis(800);

/// Starts the watching thread; returns once signals are caught. `cleanup` runs before a hard exit.
///
/// # Errors
/// When the thread or its handlers cannot be set up.
pub fn watch(token: CancellationToken, cleanup: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let (started, result) = mpsc::channel();
    thread::Builder::new().name("shutdown".to_owned()).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(started.send(Err(error))),
        };
        runtime.block_on(async {
            let signal = match signals() {
                Ok(signal) => signal,
                Err(error) => return drop(started.send(Err(error))),
            };
            let _ = started.send(Ok(()));
            tokio::select! {
                () = signal => {}
                () = stdout_closed() => {}
                () = token.cancelled() => {}
            }
            token.cancel();
            tokio::time::sleep(HARD_EXIT).await;
            cleanup();
            std::process::exit(0);
        });
    })?;
    result.recv().unwrap_or_else(|_| Err(io::Error::other("the thread that watches for signals ended")))
}

/// Installs the handlers now; completes on the first signal.
#[cfg(unix)]
fn signals() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Installs the handler now; completes on the first Ctrl-C.
#[cfg(windows)]
fn signals() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
    })
}

/// Completes when stdout is a pipe or a socket whose reader has gone; never for a file or a device.
#[cfg(unix)]
async fn stdout_closed() {
    use std::os::fd::AsFd as _;
    use tokio::io::{Interest, unix::AsyncFd};
    // A file or /dev/null cannot be registered: then there is nothing to wait for.
    #[expect(deprecated, reason = "unsound only for types that do not own their descriptor; its successor is unsafe")]
    let watched =
        (io::stdout().as_fd().try_clone_to_owned()).and_then(|stdout| AsyncFd::with_interest(stdout, Interest::ERROR));
    if let Ok(stdout) = watched
        && stdout.ready(Interest::ERROR).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// On Windows a closed stdout is noticed by the next line that is written to it.
#[cfg(windows)]
async fn stdout_closed() {
    std::future::pending().await
}
