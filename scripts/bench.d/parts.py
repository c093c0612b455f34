"""What is measured, each part by itself."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from statistics import median

from fleet import BUCKETS, DATA, TFLEET, Fleet, aws_provider, timed, zip_mirror

RIPGREP = os.environ["TFLEET_BENCH_RIPGREP"]
MIRROR = os.environ["TFLEET_TEST_MIRROR"]
WORKERS = 4
MB = 1000 * 1000

APPLY = "terraform apply -input=false -no-color -auto-approve -var-file=deployment.tfvars > apply.log 2>&1\n"
# The seed's own sequence: the plan twice more, as JSON and as text.
PLAN = (
    "terraform plan -input=false -no-color -out=plan.tfplan -var-file=deployment.tfvars > plan.log 2>&1\n"
    "terraform show -no-color -json plan.tfplan > plan.json\n"
    "terraform show -no-color plan.tfplan > plan.md\n"
)


class Row:
    """One line of the table."""

    def __init__(self, part, what, values, limit, unit="", detail=""):
        self.part, self.what, self.values, self.limit = part, what, values, limit
        self.unit, self.detail = unit, detail

    @property
    def median(self):
        return median(self.values)

    @property
    def holds(self):
        return self.median <= self.limit


def pairs(part, what, limit, repeat, ours, theirs):
    """A B A B …, after one run of each that does not count; the ratio of each pair."""
    ours(), theirs()
    times = []
    for number in range(repeat):
        times.append((ours(), theirs()))
        print(f"    {part} {number + 1}/{repeat}: tfleet {times[-1][0]:.2f} s, plain {times[-1][1]:.2f} s", flush=True)
    detail = f"{median(a for a, _ in times):.2f} s against {median(b for _, b in times):.2f} s"
    return Row(part, what, [a / b for a, b in times], limit, "×", detail)


def apply(options, top, s3):
    """40 deployments without a provider, which cost Terraform next to nothing: what tfleet adds shows."""
    fleet = Fleet(top, DATA, 40)

    def ours():
        fleet.fresh_state(s3)
        return fleet.tfleet("apply", WORKERS, "--auto-approve", cold=options.cold)

    def theirs():
        fleet.fresh_state(s3)
        return fleet.plain(APPLY, WORKERS)

    part, limit = ("apply-s3", 1.25) if s3 else ("apply-local", 1.15)
    what = f"apply, 40 deployments, {'S3' if s3 else 'local'} states"
    return pairs(part, what, limit, options.repeat, ours, theirs)


def apply_local(options, top):
    return apply(options, top, s3=False)


def apply_s3(options, top):
    return apply(options, top, s3=True)


def plan(options, top):
    fleet = Fleet(top, BUCKETS + aws_provider(), 8, MIRROR)
    out = top / "out"

    def ours():
        fleet.fresh_state(s3=True)
        shutil.rmtree(out, ignore_errors=True)
        seconds = fleet.tfleet("plan", WORKERS, "--out-dir", str(out), cold=options.cold)
        for name in ("plan.json", "plan.md"):
            found = len(list(out.rglob(name)))
            if found != fleet.count:
                raise SystemExit(f"error: {found} of {fleet.count} deployments have a {name}")
        return seconds

    def theirs():
        fleet.fresh_state(s3=True)
        return fleet.plain(PLAN, WORKERS)

    return pairs("plan", "plan with artefacts, 8 deployments, AWS provider", 0.75, options.repeat, ours, theirs)


def disk(options, top):
    """Every workspace is held in the middle of its apply, and everything that tfleet has on disk then is counted."""
    gate, started = top / "gate", top / "started"
    root = BUCKETS + aws_provider() + (
        'resource "terraform_data" "held" {\n'
        '  depends_on = [aws_s3_bucket.this]\n'
        '  provisioner "local-exec" {\n'
        f'    command = "touch {started}/${{var.project}}; cat {gate}"\n'
        "  }\n}\n"
    )
    top.mkdir()
    started.mkdir()
    os.mkfifo(gate)
    fleet = Fleet(top / "fleet", root, 8, zip_mirror(top / "mirror"))
    fleet.fresh_state(s3=True)
    environment = fleet.environment() | {"TFLEET_CACHE_DIR": str(fleet.cache)}
    log = top / "tfleet.log"
    with open(log, "w") as out:
        command = fleet.tfleet_command("apply", fleet.count, "--auto-approve")
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    # While it is open for writing somewhere, whoever reads from it waits.
    held = os.open(gate, os.O_RDWR)
    try:
        while len(list(started.iterdir())) < fleet.count:
            if process.poll() is not None:
                raise SystemExit(f"error: tfleet ended before its workspaces were held:\n{log.read_text()[-4000:]}")
            time.sleep(0.05)
        size, copies = usage(fleet.cache)
    finally:
        os.close(held)
        release(gate, process)
    if process.returncode != 0:
        raise SystemExit(f"error: tfleet ended with {process.returncode}:\n{log.read_text()[-4000:]}")
    beyond = size - max(copies, default=0)
    detail = f"{len(copies)} copy of the provider ({sum(copies) / MB:.0f} MB) in {size / MB:.1f} MB"
    return Row("disk", "8 workspaces beyond one provider", [beyond / MB], 10, " MB", detail)


def release(gate, process):
    """Lets whoever reads the gate, now or later, come to its end."""
    while process.poll() is None:
        try:
            os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            pass
        time.sleep(0.02)


def usage(folder):
    """The bytes on disk of everything below `folder`, hard links once and links not followed, and those of each file in it
    that is the provider."""
    seen, total, providers = set(), 0, []
    for base, folders, files in os.walk(folder):
        for name in ["", *files, *(f for f in folders if os.path.islink(os.path.join(base, f)))]:
            info = os.lstat(os.path.join(base, name))
            if (info.st_dev, info.st_ino) in seen:
                continue
            seen.add((info.st_dev, info.st_ino))
            total += info.st_blocks * 512
            if name.startswith("terraform-provider-aws") and info.st_size > 10 * MB:
                providers.append(info.st_blocks * 512)
    return total, providers


def discover(options, top):
    fleet = Fleet(top, DATA, 20_000)
    fleet.fresh_state(s3=False)
    environment = fleet.environment() | {"TFLEET_CACHE_DIR": str(fleet.cache)}
    listed, found = top / "discover.json", top / "rg.out"

    def ours():
        command = [TFLEET, "discover", "--working-dir", str(fleet.repo), "--format", "json"]
        return timed(command, environment, listed)

    def theirs():
        return timed([RIPGREP, "-l", "--glob", "*.tfvars", "s3_buckets", str(fleet.repo)], environment, found)

    row = pairs("discover", "discover, 20,000 files, against rg -l", 3, options.repeat, ours, theirs)
    count = len(found.read_text().splitlines()), len(json.loads(listed.read_text())["deployments"])
    if count != (fleet.count, fleet.count):
        raise SystemExit(f"error: rg found {count[0]} files and tfleet {count[1]} deployments, not {fleet.count}")
    return row


def roots(options, top):
    """A tree of accounts, regions and components, each a root module with a key of its own."""
    repo, count, accounts = top / "repo", 1_000, 10
    for number in range(count):
        place = f"acme-{number % accounts:02}/us-east-1/component-{number:04}"
        folder = repo / place
        folder.mkdir(parents=True)
        backend = f'bucket = "states"\n    key    = "{place}.tfstate"\n    region = "us-east-1"'
        module = f'terraform {{\n  backend "s3" {{\n    {backend}\n  }}\n}}\n'
        (folder / "main.tf").write_text(module + 'resource "terraform_data" "it" {}\n')
    ids = "".join(f'  "1111111111{n:02}": {{account_name: acme-{n:02}}}\n' for n in range(accounts))
    (repo / "accounts.yaml").write_text(f"accounts:\n{ids}")
    layout = '- {name: tree, path: "{account_name}/{region}/{project}"}'
    (repo / "tfleet.yaml").write_text(f"layouts:\n  {layout}\n")
    environment = {"PATH": os.environ["PATH"], "HOME": str(top), "TFLEET_CACHE_DIR": str(top / "cache")}
    listed, found = top / "discover.json", top / "rg.out"

    def ours():
        return timed([TFLEET, "discover", "--working-dir", str(repo), "--format", "json"], environment, listed)

    def theirs():
        return timed([RIPGREP, "-l", "--glob", "*.tf", "backend", str(repo)], environment, found)

    row = pairs("roots", "discover, 1,000 root modules, against rg -l", 5, options.repeat, ours, theirs)
    if len(json.loads(listed.read_text())["deployments"]) != count:
        raise SystemExit(f"error: tfleet found other than {count} root modules")
    return row


def memory(options, top):
    """The high-water mark of tfleet's own process, without its children's."""
    megabytes = 50
    # Lines of 1,000 bytes: Terraform makes a JSON message of each, and short ones cost it minutes that say nothing about
    # tfleet.
    line = "some output of a build tool " * 36
    root = DATA + (
        'resource "terraform_data" "loud" {\n'
        '  provisioner "local-exec" {\n'
        f'    command = "yes \'{line}\' | head -c {megabytes * MB}"\n'
        "  }\n}\n"
    )
    fleet = Fleet(top, root, options.memory_deployments)
    fleet.fresh_state(s3=False)
    environment = fleet.environment() | {"TFLEET_CACHE_DIR": str(fleet.cache)}
    log, peak = top / "tfleet.log", 0
    began = time.monotonic()
    with open(log, "w") as out:
        command = fleet.tfleet_command("apply", WORKERS, "--auto-approve")
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        while process.poll() is None:
            peak = max(peak, high_water(process.pid))
            time.sleep(0.02)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if process.returncode != 0:
        raise SystemExit(f"error: tfleet ended with {process.returncode}:\n{log.read_text(errors='replace')[-4000:]}")
    what = f"peak memory, {fleet.count} deployments printing {megabytes} MB each"
    return Row("memory", what, [peak / MB], 150, " MB", f"{time.monotonic() - began:.0f} s, {WORKERS} workers")


def high_water(pid):
    """`VmHWM` of a process in bytes (proc_pid_status(5)); 0 once it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


PARTS = {
    "apply-local": apply_local,
    "apply-s3": apply_s3,
    "plan": plan,
    "disk": disk,
    "discover": discover,
    "roots": roots,
    "memory": memory,
}
