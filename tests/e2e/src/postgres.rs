//! A PostgreSQL server of this test alone: its own cluster in a temporary folder, reached by a unix socket only.

use arrow::array::{Array as _, ArrayRef, AsArray as _, BinaryArray, ListArray};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::data::{Table, printable};

/// The variable that names the folder with `initdb` and `pg_ctl` where they are neither on the PATH nor where Debian
/// keeps them.
const BIN_VARIABLE: &str = "POSTGRES_BIN";
const DEBIAN_ROOT: &str = "/usr/lib/postgresql";
/// PostgreSQL refuses to run as root; its packages bring this user.
const SYSTEM_USER: &str = "postgres";
/// Only part of the socket's name: nothing listens on TCP.
const PORT: &str = "5432";

/// A running server; it ends with the value.
pub struct Postgres {
    bin: PathBuf,
    dir: PathBuf,
    as_root: bool,
}

impl Postgres {
    /// Makes a cluster in `dir` and starts a server.
    pub fn start(dir: &Path) -> Self {
        let as_root = output(Command::new("id").arg("-u")).trim() == "0";
        let postgres = Self { bin: find_bin(), dir: dir.join("pg"), as_root };
        std::fs::create_dir(&postgres.dir).expect("make the server's folder");
        if as_root {
            output(Command::new("chmod").arg("go+x").arg(dir));
            output(Command::new("chown").arg(SYSTEM_USER).arg(&postgres.dir));
        }
        let data = postgres.dir.join("data");
        output(
            postgres
                .command("initdb")
                .args(["--auth=trust", "--username=postgres", "--no-sync", "--encoding=UTF8", "-D"])
                .arg(&data),
        );
        let options = format!("-c listen_addresses= -c fsync=off -p {PORT} -k {}", postgres.dir.display());
        let log = postgres.dir.join("server.log");
        output(postgres.command("pg_ctl").args(["start", "-w", "-o", &options, "-l"]).arg(&log).arg("-D").arg(&data));
        postgres
    }

    /// For the destination's spec.
    pub fn connection_string(&self) -> String {
        format!("postgresql:///postgres?host={}&port={PORT}&user=postgres", self.dir.display())
    }

    /// The table has exactly the rows of the files; PostgreSQL compares, with its own types and its own equality.
    pub fn assert_contents(&self, table: &Table) {
        let names: Vec<String> = table.column_names().into_iter().map(|name| format!("\"{name}\"")).collect();
        let names = names.join(", ");
        let name = table.name;
        let mut sql = String::from("BEGIN;\n");
        let mut line = |text: String| writeln!(sql, "{text}").expect("a String takes every text");
        line(format!("CREATE TEMP TABLE expected ON COMMIT DROP AS SELECT {names} FROM public.{name} WHERE false;"));
        for object in &table.objects {
            let rows: Vec<String> = (0..object.row_count())
                .map(|row| {
                    let values: Vec<String> =
                        object.columns.iter().map(|column| literal(&column.sent, row, column.json)).collect();
                    format!("({})", values.join(", "))
                })
                .collect();
            line(format!("INSERT INTO expected ({names}) VALUES {};", rows.join(",\n")));
        }
        let difference = |plus: &str, minus: &str| {
            format!("SELECT '{plus}', d.* FROM (SELECT {names} FROM {plus} EXCEPT ALL SELECT {names} FROM {minus}) d;")
        };
        line(difference(&format!("public.{name}"), "expected").replacen("'public.", "'only in public.", 1));
        line(difference("expected", &format!("public.{name}")).replacen("'expected", "'only in expected", 1));
        line("ROLLBACK;".to_owned());
        let differences = self.psql(&sql);
        assert!(differences.trim().is_empty(), "{name} differs from the files:\n{differences}");
        let ids = self.psql(&format!("SELECT count(DISTINCT _cq_id) FROM public.{name};"));
        assert_eq!(ids.trim(), table.row_count().to_string(), "distinct ids of {name}");
    }

    /// Runs SQL and gives the rows as text.
    pub fn psql(&self, sql: &str) -> String {
        let beside = self.bin.join("psql"); // Debian has the client in another folder than the server
        let mut command = Command::new(if beside.exists() { beside } else { PathBuf::from("psql") });
        command
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"])
            .args(["--dbname", &self.connection_string(), "--file", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("start psql");
        let mut stdin = child.stdin.take().expect("psql's standard input");
        stdin.write_all(sql.as_bytes()).expect("send SQL");
        drop(stdin);
        let result = child.wait_with_output().expect("psql's result");
        let errors = String::from_utf8_lossy(&result.stderr);
        assert!(result.status.success(), "psql failed: {errors}\n{}", sql.chars().take(2_000).collect::<String>());
        String::from_utf8_lossy(&result.stdout).into_owned()
    }

    /// A command of the server's, as a user that it accepts.
    fn command(&self, name: &str) -> Command {
        let path = self.bin.join(name);
        let mut command = if self.as_root {
            let mut command = Command::new("runuser");
            command.args(["-u", SYSTEM_USER, "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        command.current_dir("/");
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.dir.join("data");
        let mut stop = self.command("pg_ctl");
        stop.args(["stop", "-w", "-m", "immediate", "-D"]).arg(data);
        let _ = stop.stdout(Stdio::null()).stderr(Stdio::null()).status(); // the folder goes in any case
    }
}

/// Where `initdb` and `pg_ctl` are: the variable, the PATH, Debian's newest version.
fn find_bin() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let from_variable = std::env::var_os(BIN_VARIABLE).map(PathBuf::from);
    let on_path = std::env::split_paths(&path).collect::<Vec<_>>();
    let mut debian: Vec<PathBuf> = std::fs::read_dir(DEBIAN_ROOT)
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect())
        .unwrap_or_default();
    debian.sort();
    let mut candidates = from_variable.into_iter().chain(on_path).chain(debian.into_iter().rev());
    candidates.find(|bin| bin.join("initdb").is_file() && bin.join("pg_ctl").is_file()).unwrap_or_else(|| {
        panic!("no PostgreSQL server: install one (Debian: apt-get install postgresql) or set {BIN_VARIABLE}")
    })
}

/// Runs a command that must succeed.
fn output(command: &mut Command) -> String {
    // A server that stays must not inherit the pipes: pg_ctl would never be seen to end.
    let result = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let result = result.unwrap_or_else(|error| panic!("run {command:?}: {error}"));
    assert!(result.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&result.stdout));
    String::from_utf8_lossy(&result.stdout).into_owned()
}

/// A value as an SQL literal; PostgreSQL reads it as the type of the column that it is put into.
fn literal(array: &ArrayRef, row: usize, json: bool) -> String {
    if array.is_null(row) {
        return "NULL".to_owned();
    }
    let text = match array.data_type() {
        DataType::Binary => {
            let bytes = array.as_any().downcast_ref::<BinaryArray>().expect("the type was matched").value(row);
            if json { String::from_utf8_lossy(bytes).into_owned() } else { format!("\\x{}", hex(bytes)) }
        }
        DataType::List(_) => {
            let list = array.as_any().downcast_ref::<ListArray>().expect("the type was matched").value(row);
            let items: Vec<String> =
                list.as_string::<i32>().iter().flatten().map(|item| format!("\"{item}\"")).collect();
            format!("{{{}}}", items.join(","))
        }
        _ => {
            let array = printable(array);
            let formatter = ArrayFormatter::try_new(array.as_ref(), &FormatOptions::default());
            formatter.expect("a type that can be printed").value(row).to_string()
        }
    };
    format!("'{}'", text.replace('\'', "''"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every text");
        text
    })
}
