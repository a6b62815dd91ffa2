//! The container commands of the docs, run with the image that `just docker` loaded. `just test-docs` runs it.

use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The one page that shows `docker run`; `docs::` of the integration tests makes sure that no other one does.
const PAGE: &str = include_str!("../../../docs/container.md");
/// The name under which it pulls the image.
const PAGES_IMAGE: &str = "ghcr.io/OWNER/cq-source-s3";
const LOCAL_IMAGE: &str = "cq-source-s3:local";
const SERVES_WITHIN: Duration = Duration::from_secs(5);

/// The `docker run` lines of all `sh` blocks, continued lines joined, comments cut.
fn docker_runs() -> Vec<String> {
    let blocks = PAGE.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let joined = blocks.map(|block| block.replace("\\\n", " ")).collect::<Vec<_>>().join("\n");
    let lines = joined.lines().map(|line| line.split(" #").next().unwrap_or_default().trim().to_owned());
    lines.filter(|line| line.starts_with("docker run ")).collect()
}

/// The words of a command: no shell, so a page that needs one fails here. Quotes only keep a shell from reading `[`.
fn words(command: &str) -> Vec<String> {
    command
        .split_whitespace()
        .map(|word| match word.split_once(':') {
            Some((name, _)) if name == PAGES_IMAGE => LOCAL_IMAGE.to_owned(),
            _ => word.trim_matches('\'').to_owned(),
        })
        .collect()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

#[test]
fn the_container_commands_run() {
    let commands = docker_runs();
    assert!(commands.len() >= 3, "the page shows {} container commands", commands.len());
    for (number, command) in commands.iter().enumerate() {
        let mut words = words(command);
        assert!(words.contains(&LOCAL_IMAGE.to_owned()), "{command} runs another image");
        let published = words.iter().position(|word| word == "-p" || word == "--publish");
        let Some(published) = published else {
            // Something that ends by itself.
            let status = Command::new(&words[0]).args(&words[1..]).stdout(Stdio::null()).status();
            assert!(status.expect("run docker").success(), "{command} fails");
            continue;
        };
        // A port of its own in place of the page's; the container's side stays.
        let port = free_port();
        let inside = words[published + 1].rsplit(':').next().expect("a port").to_owned();
        words[published + 1] = format!("127.0.0.1:{port}:{inside}");
        let name = format!("cq-readme-{}-{number}", std::process::id());
        words.splice(2..2, ["--detach".to_owned(), "--name".to_owned(), name.clone()]);
        let output = Command::new(&words[0]).args(&words[1..]).output().expect("run docker");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        let started = Instant::now();
        // The engine's proxy listens before the plugin does: only bytes of HTTP/2 prove that the plugin answers.
        let mut served = answers(port);
        while !served && started.elapsed() < SERVES_WITHIN {
            std::thread::sleep(Duration::from_millis(20));
            served = answers(port);
        }
        let _ = Command::new("docker").args(["rm", "--force", &name]).output(); // with --rm it may be gone
        assert!(served, "{command} does not serve");
    }
}

/// Whether an HTTP/2 server greets at the port.
fn answers(port: u16) -> bool {
    use std::io::{Read as _, Write as _};
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let mut frame = [0; 9];
    stream.write_all(PREFACE).is_ok() && stream.read_exact(&mut frame).is_ok() && frame[3] == 4 // SETTINGS
}
