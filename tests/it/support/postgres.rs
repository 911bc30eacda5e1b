//! A PostgreSQL server of its own, and PgBouncer in front of it.
//!
//! Start at [`Cluster::start`]. The programs are those below `CALLGATE_TEST_POSTGRES`, or else Debian's. They refuse to
//! run as root, so there they run as `postgres`. They end with the test: the kernel tells them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::port::free_port;

/// A database server over a folder of its own.
pub struct Cluster {
    folder: TempDir,
    port: u16,
    server: Child,
}

/// What a server over TLS is set up with.
pub struct Encrypted<'a> {
    /// Its certificate, PEM.
    pub certificate: &'a str,
    /// Its key, PEM.
    pub key: &'a str,
    /// The authority of its clients, PEM.
    pub clients: &'a str,
    /// Who may connect, as in `pg_hba.conf`.
    pub access: &'a str,
}

/// PgBouncer in transaction mode before a cluster.
pub struct Bouncer {
    port: u16,
    process: Child,
    _folder: TempDir,
}

/// Where a program of PostgreSQL is.
fn program(name: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os("CALLGATE_TEST_POSTGRES") {
        return Path::new(&folder).join(name);
    }
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut found: Vec<PathBuf> = debian
        .filter_map(|version| Some(version.ok()?.path().join("bin").join(name)))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    found
        .pop()
        .expect("PostgreSQL is not installed: apt-get install postgresql-15")
}

/// A command that runs as somebody who is not root.
fn unprivileged(program: &Path) -> Command {
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let mut command = Command::new("setpriv");
    if is_root {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.args(["--pdeathsig", "INT"]).arg(program);
    command
}

/// Starts a process that lives as long as this one. The kernel watches the thread that has started it, so that one does
/// nothing else and never ends.
pub fn spawn_for_life(mut command: Command) -> Child {
    let (done, child) = mpsc::channel();
    std::thread::spawn(move || {
        done.send(command.spawn()).unwrap();
        loop {
            std::thread::park();
        }
    });
    child.recv().unwrap().expect("a process")
}

/// A folder that everybody may look into, as the server is somebody else. A server that tests share is never dropped, so
/// a shell removes its folder, gigabytes after many tests, once this process and then the server have ended.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(folder.path(), mode).unwrap();
    let remove = "tail --pid=\"$1\" -f /dev/null && sleep 2 && rm -rf \"$2\"";
    let pid = std::process::id().to_string();
    let started = Command::new("setsid")
        .args(["--fork", "sh", "-c", remove, "sh", &pid])
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(started.success(), "no shell");
    folder
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Cluster {
    /// A new server. It trusts whoever comes from this machine, and waits for no disk.
    pub fn start() -> Self {
        Self::with_settings(&["fsync=off"])
    }

    /// A new server over TLS.
    pub fn encrypted(setup: &Encrypted<'_>) -> Self {
        let folder = folder();
        let mut settings = vec!["fsync=off".to_owned(), "ssl=on".to_owned()];
        for (setting, name, text) in [
            ("ssl_cert_file", "server.pem", setup.certificate),
            ("ssl_key_file", "server.key", setup.key),
            ("ssl_ca_file", "clients.pem", setup.clients),
            ("hba_file", "access", setup.access),
        ] {
            let (path, own) = (
                folder.path().join(name),
                folder.path().join(format!("own-{name}")),
            );
            fs::write(&path, text).unwrap();
            // The server wants its key for itself.
            let mode = PathBuf::from("0600");
            for (program, args) in [("cp", [&path, &own]), ("chmod", [&mode, &own])] {
                let done = unprivileged(Path::new(program)).args(args).status();
                assert!(done.unwrap().success(), "{program} {name}");
            }
            settings.push(format!("{setting}={}", own.display()));
        }
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        Self::make(folder, &settings)
    }

    pub fn with_settings(settings: &[&str]) -> Self {
        Self::make(folder(), settings)
    }

    fn make(folder: TempDir, settings: &[&str]) -> Self {
        let data = folder.path().join("data");
        let made = unprivileged(&program("initdb"))
            .args(["-A", "trust", "-U", "callgate", "--no-sync", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        Self::serve(folder, settings)
    }

    /// A standby that follows this server.
    pub fn standby(&self, settings: &[&str]) -> Self {
        let folder = folder();
        let copied = unprivileged(&program("pg_basebackup"))
            .args([
                "-h",
                "127.0.0.1",
                "-U",
                "callgate",
                "-R",
                "-X",
                "stream",
                "-c",
                "fast",
            ])
            .args(["-p", &self.port.to_string(), "-D"])
            .arg(folder.path().join("data"))
            .output()
            .unwrap();
        assert!(
            copied.status.success(),
            "{}",
            String::from_utf8_lossy(&copied.stderr)
        );
        let server = Self::serve(folder, settings);
        // It answers before it follows.
        wait_until("standby", || server.query("SELECT 1").is_ok());
        server
    }

    fn serve(folder: TempDir, settings: &[&str]) -> Self {
        let port = free_port();
        let mut command = unprivileged(&program("postgres"));
        let log = fs::File::create(folder.path().join("log")).unwrap();
        command
            .arg("-D")
            .arg(folder.path().join("data"))
            .args(["-p", &port.to_string(), "-k", ""])
            .args([
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "max_connections=300",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        for setting in settings {
            command.args(["-c", setting]);
        }
        let cluster = Self {
            folder,
            port,
            server: spawn_for_life(command),
        };
        wait_until("server", || cluster.query("SELECT 1").is_ok());
        cluster
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        url(self.port, database)
    }

    /// Runs SQL in the database `postgres` and gives what it says.
    pub fn query(&self, sql: &str) -> Result<String, String> {
        self.query_in("postgres", sql)
    }

    pub fn query_in(&self, database: &str, sql: &str) -> Result<String, String> {
        let said = Command::new(program("psql"))
            .args([
                "-h",
                "127.0.0.1",
                "-U",
                "callgate",
                "-qAt",
                "-v",
                "ON_ERROR_STOP=1",
            ])
            .args(["-p", &self.port.to_string(), "-d", database, "-c", sql])
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        match said.status.success() {
            true => Ok(text(&said.stdout)),
            false => Err(text(&said.stderr)),
        }
    }

    /// Creates a database if there is none by this name.
    pub fn create(&self, database: &str) {
        if let Err(why) = self.query(&format!("CREATE DATABASE {database}")) {
            assert!(why.contains("already exists"), "{why}");
        }
    }

    /// Makes a standby the primary.
    pub fn promote(&self) {
        self.query("SELECT pg_promote(true)").unwrap();
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        let _ = Command::new("kill")
            .args(["-QUIT", &self.server.id().to_string()])
            .status();
        let _ = self.server.wait();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
        let _ = &self.folder;
    }
}

impl Bouncer {
    pub fn before(cluster: &Cluster) -> Self {
        let (folder, port) = (folder(), free_port());
        let file = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = transaction\nmax_client_conn = 500\n\
             default_pool_size = 4\n",
            cluster.port
        );
        // Everybody is `callgate` behind it.
        fs::write(&file, text.replace("host=", "user=callgate host=")).unwrap();
        let mut command = unprivileged(Path::new("/usr/sbin/pgbouncer"));
        command
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command.stderr(fs::File::create(folder.path().join("log")).unwrap());
        let process = spawn_for_life(command);
        let bouncer = Self {
            port,
            process,
            _folder: folder,
        };
        wait_until("pooler", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        bouncer
    }

    pub fn url(&self, database: &str) -> String {
        url(self.port, database)
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn url(port: u16, database: &str) -> String {
    format!("postgres://callgate@127.0.0.1:{port}/{database}")
}
