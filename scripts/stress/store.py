#!/usr/bin/env python3
"""What requests notice of a database in trouble, and of a million keys: statuses, latency, memory, rows.

    scripts/stress/store.py CASE... [--ostia BINARY] [--bench BINARY] [--seconds N] [--rate N] [--keys N]

    outage       PostgreSQL is stopped for N seconds (60)
    slow         each statement that writes rows takes 2 s
    full         PostgreSQL says that its disk is full
    exhausted    the gateway's connections are cut, and it gets no others: too many are open
    keys         a million keys beside ten, on SQLite and on PostgreSQL, while keys are made

Each case runs the same load before the trouble and during it. Afterwards each answered call must have one row. Everything is
in a temporary folder, on loopback, and is stopped at the end.
"""

import argparse
import contextlib
import glob
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request

SETTINGS = """
[server]
listen = "127.0.0.1:0"
admin_listen = "127.0.0.1:0"
state_dir = "{folder}/state"
[store]
url = "{url}"
[limits]
requests_per_second_per_user = 0
max_in_flight_per_user = 0
queue_timeout = "0"
[[clusters]]
cluster_name = "c"
frameworks = ["f"]
openai_endpoints = ["chat/completions"]
[[endpoints]]
cluster = "c"
framework = "f"
model = "bench-model"
api_url = "http://{mock}/v1"
"""
SLOW = """CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(2); RETURN NULL; END $$;
CREATE TRIGGER trouble BEFORE INSERT ON ledger FOR EACH STATEMENT EXECUTE FUNCTION trouble()"""
FULL = """CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER trouble BEFORE INSERT ON ledger FOR EACH STATEMENT EXECUTE FUNCTION trouble()"""
EXHAUSTED = """ALTER ROLE gateway CONNECTION LIMIT 0;
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'gateway'"""
NOT_EXHAUSTED = "ALTER ROLE gateway CONNECTION LIMIT -1"
NO_TROUBLE = "DROP TRIGGER trouble ON ledger; DROP FUNCTION trouble()"


def wait_for(what, found, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError, subprocess.CalledProcessError, ValueError):
            if (value := found()) not in (None, False):
                return value
        time.sleep(0.1)
    raise SystemExit(f"in vain: {what}")


class Postgres:
    """Runs in a user namespace without a root user if root starts it, because it refuses to run as root."""

    def __init__(self, folder):
        installed = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        self.bin = installed[-1] if installed else os.path.dirname(shutil.which("initdb"))
        self.run_as = ["unshare", "--user"] if os.getuid() == 0 else []
        self.data, self.socket = f"{folder}/pg", folder
        words = ["--no-sync", "--auth=trust", "--username=ostia", "--encoding=UTF8", "-D", self.data]
        subprocess.run([*self.run_as, f"{self.bin}/initdb", *words], check=True, stdout=subprocess.DEVNULL)
        self.log = open(f"{folder}/postgres.log", "w")
        self.start()
        self.sql("CREATE ROLE gateway LOGIN; ALTER DATABASE postgres OWNER TO gateway")
        self.url = f"postgres://gateway@{folder.replace('/', '%2F')}/postgres"

    def start(self):
        words = ["-D", self.data, "-k", self.socket, "-c", "listen_addresses="]
        self.process = subprocess.Popen([*self.run_as, f"{self.bin}/postgres", *words], stderr=self.log)
        ready = [f"{self.bin}/pg_isready", "-q", "-h", self.socket]
        wait_for("PostgreSQL", lambda: subprocess.run(ready, check=False).returncode == 0)

    def stop(self):
        with open(f"{self.data}/postmaster.pid") as file:
            os.kill(int(file.readline()), signal.SIGQUIT)
        self.process.wait()

    def sql(self, statement):
        words = [f"{self.bin}/psql", "-h", self.socket, "-U", "ostia", "-Atq", "-v", "ON_ERROR_STOP=1", "postgres", "-c", statement]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


class Gateway:
    def __init__(self, args, folder, url, mock):
        self.folder, self.binary = folder, args.ostia
        self.config = f"{folder}/ostia.toml"
        with open(self.config, "w") as file:
            file.write(SETTINGS.format(folder=folder, url=url, mock=mock))
        self.run("db", "migrate")
        self.key = json.loads(self.run("key", "create", "--user", "ann@lab.org", "--json"))["key"]

    def run(self, *words):
        command = [self.binary, "--config", self.config, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=self.folder).stdout

    def start(self):
        begun = time.monotonic()
        self.log = open(f"{self.folder}/log", "w")
        command = [self.binary, "--config", self.config, "serve"]
        self.process = subprocess.Popen(command, stderr=self.log, cwd=self.folder)
        self.listen, self.admin = wait_for("the gateway", self.addresses)
        return time.monotonic() - begun

    def addresses(self):
        with open(self.log.name) as file:
            for line in file:
                if '"ostia listens"' in line:
                    told = json.loads(line)
                    return told["listen"], told["admin"]
        return None

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()

    def memory(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024

    def database(self):
        try:
            answer = urllib.request.urlopen(f"http://{self.admin}/health/ready", timeout=5)
        except urllib.error.HTTPError as error:
            answer = error
        return json.load(answer).get("db")


class Run:
    def __init__(self, args):
        self.args = args
        self.answered = 0

    def load(self, gateway, seconds):
        words = ["load", gateway.listen, "-H", f"authorization: Bearer {gateway.key}", "-c", "64"]
        words += ["--rate", str(self.args.rate), "-s", str(seconds)]
        told = json.loads(subprocess.run([self.args.bench, *words], check=True, capture_output=True, text=True).stdout)
        self.answered += told["requests"]
        return told

    @contextlib.contextmanager
    def mock(self):
        process = subprocess.Popen([self.args.bench, "mock"], stdout=subprocess.PIPE, text=True)
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.kill()
            process.wait()

    def trouble(self, name, begin, end, told):
        """`told`: what the gateway says of its database meanwhile."""
        self.answered = 0
        with tempfile.TemporaryDirectory() as folder, self.mock() as mock:
            postgres = Postgres(folder)
            gateway = Gateway(self.args, folder, postgres.url, mock)
            gateway.start()
            try:
                self.load(gateway, 3)
                calm = self.load(gateway, 15)
                begin(postgres)
                during = self.load(gateway, self.args.seconds)
                said = gateway.database()
                end(postgres)
                ids = lambda: postgres.sql("SELECT count(*), count(DISTINCT request_id) FROM ledger WHERE outcome = 'ok'")
                wanted = f"{self.answered}|{self.answered}"
                begun = time.monotonic()
                wait_for(f"{wanted} rows", lambda: ids() == wanted)
                print(
                    f"{name}: calm p50 {calm['latency_us']['p50']} p99 {calm['latency_us']['p99']} us, "
                    f"in trouble p50 {during['latency_us']['p50']} p99 {during['latency_us']['p99']} us; "
                    f"{during['requests']} answered in {self.args.seconds} s, {during['errors']} failed; db {said!r} (wanted {told!r}); "
                    f"{self.answered} answered and as many rows, each once, {time.monotonic() - begun:.1f} s later",
                    flush=True,
                )
                if during["errors"] or calm["errors"] or said != told:
                    raise SystemExit(f"{name}: requests failed, or the database's state was not told: {during['error_kinds']}")
            finally:
                gateway.stop()
                postgres.stop()

    def keys(self, name, count):
        with tempfile.TemporaryDirectory() as folder, self.mock() as mock:
            postgres = Postgres(folder) if name == "postgres" else None
            gateway = Gateway(self.args, folder, postgres.url if postgres else f"sqlite://{folder}/ostia.db", mock)
            add_keys(postgres, f"{folder}/ostia.db", count)
            started = gateway.start()
            try:
                self.load(gateway, 3)
                before = gateway.memory()
                making = subprocess.Popen(["sh", "-c", 'while :; do "$0" --config "$1" key create --user bob@lab.org; sleep 0.5; done', self.args.ostia, gateway.config],
                                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
                told = self.load(gateway, 20)
                os.killpg(making.pid, signal.SIGKILL)
                making.wait()
                print(
                    f"keys on {name}: {count:,}: start {started * 1000:.0f} ms, memory {before:.1f} MiB, {gateway.memory():.1f} after the load; "
                    f"p50 {told['latency_us']['p50']} p99 {told['latency_us']['p99']} us, {told['errors']} failed",
                    flush=True,
                )
            finally:
                gateway.stop()
                if postgres:
                    postgres.stop()


def add_keys(postgres, file, count):
    """Copies of the one key, with ids, hashes and owners of their own."""
    if postgres:
        names = postgres.sql("SELECT string_agg(quote_ident(attname), ',') FROM pg_attribute WHERE attrelid = 'api_keys'::regclass AND attnum > 0 AND NOT attisdropped").split(",")
        own = {"id": "'k' || n", "hash": "sha256(n::text::bytea)", "username": "'u' || n || '@lab.org'"}
        values = ", ".join(own.get(name, name) for name in names)
        postgres.sql("ALTER TABLE api_keys DISABLE TRIGGER USER")
        postgres.sql(f"INSERT INTO api_keys ({','.join(names)}) SELECT {values} FROM api_keys, generate_series(1, {count}) AS n")
        postgres.sql("ALTER TABLE api_keys ENABLE TRIGGER USER; ANALYZE")
        return
    database = sqlite3.connect(file)
    names = [f'"{row[1]}"' for row in database.execute("PRAGMA table_info(api_keys)")]
    own = {'"id"': "'k' || n", '"hash"': "randomblob(32)", '"username"': "'u' || n || '@lab.org'"}
    values = ", ".join(own.get(name, name) for name in names)
    series = f"WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count})"
    with database:
        database.execute(f"INSERT INTO api_keys ({','.join(names)}) {series} SELECT {values} FROM api_keys, s")
    database.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+", choices=["outage", "slow", "full", "exhausted", "keys"], metavar="CASE")
    parser.add_argument("--ostia", default="target/release/ostia", type=os.path.abspath)
    parser.add_argument("--bench", default="target/release/bench", type=os.path.abspath)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--rate", type=int, default=300)
    parser.add_argument("--keys", type=int, default=1_000_000)
    args = parser.parse_args()
    run = Run(args)
    statement = lambda text: lambda postgres: postgres.sql(text)
    troubles = {
        "outage": (Postgres.stop, Postgres.start, "down"),
        "slow": (statement(SLOW), statement(NO_TROUBLE), "up"),
        "full": (statement(FULL), statement(NO_TROUBLE), "down"),
        "exhausted": (statement(EXHAUSTED), statement(NOT_EXHAUSTED), "down"),
    }
    for case in args.cases:
        if case in troubles:
            run.trouble(case, *troubles[case])
        else:
            for store in ["sqlite", "postgres"]:
                for count in [10, args.keys]:
                    run.keys(store, count)


if __name__ == "__main__":
    sys.exit(main())
