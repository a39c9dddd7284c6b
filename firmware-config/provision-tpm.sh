#!/usr/bin/env bash
# Makes a TPM 2.0 ready to sign for one device: lock-out limits and authorisation, endorsement key (EK), attestation key (AK),
# a sign-only P-256 key that the AK certifies, linked into a tpm2-pkcs11 token, and an NV counter. No question is asked.
#
#   provision-tpm.sh --state DIR [--tcti TCTI] [--token LABEL] [--key LABEL] [--owner USER] [--tls LOG]
#
# --state   folder (made, mode 0700) of the token's store, its secrets and the evidence. Back up secrets/ off the device.
# --tcti    device:/dev/tpmrm0 (default: the kernel's resource manager), or swtpm:host=HOST,port=PORT for a simulator.
# --token, --key   labels in the token: device, device.
# --owner   the account that will sign; gets the store and the evidence. Secrets stay root's: systemd hands over the PIN
#           (systemd/edgeseal-agent.service.d/10-tpm.conf).
# --tls     the device log id that `edgeseal-agent init` prints: a second key too, for TLS with the broker, certified like the
#           first, and tls/request.csr, a certificate request of that name for the broker's authority.
#
# Safe to repeat, also after a run that was cut off: what is there is left alone, what is missing is made. Never clears a TPM.
# The PINs stand on tpm2_ptool's command line while it runs, so run this where nobody else is logged in.
# Exit codes: 0 ready, 1 something failed, 3 the TPM is in a state a person has to look at, 4 Debian packages are missing.
set -euo pipefail
umask 077
export LC_ALL=C TSS2_LOG=all+ERROR

readonly MAX_TRIES=200 RECOVERY_S=60 LOCKOUT_RECOVERY_S=86400
readonly EK_RSA=0x81010001 EK_ECC=0x81010002 AK=0x81010003 SRK=0x81000001
readonly CERTIFICATE_RSA=0x1c00002 CERTIFICATE_ECC=0x1c0000a COUNTER=0x1500010

say() { printf 'provision-tpm: %s\n' "$*" >&2; }
die() { say "error: $1"; exit "${2:-1}"; }
usage() { die "usage: provision-tpm.sh --state DIR [--tcti TCTI] [--token LABEL] [--key LABEL] [--owner USER] [--tls LOG]"; }

state='' tcti=device:/dev/tpmrm0 token=device key=device owner='' log=''
while (($#)); do
    (($# > 1)) || usage
    case $1 in
        --state) state=$2 ;; --tcti) tcti=$2 ;; --token) token=$2 ;; --key) key=$2 ;; --owner) owner=$2 ;; --tls) log=$2 ;;
        *) usage ;;
    esac
    shift 2
done
[[ -n $state && $token =~ ^[A-Za-z0-9._-]{1,32}$ && $key =~ ^[A-Za-z0-9._-]{1,64}$ && $log =~ ^([0-9a-f]{64})?$ ]] || usage

# No grep -q below: it closes the pipe early, and pipefail would count the tool before it as failed.

# ---- What this needs -----------------------------------------------------------------------------------------------

missing=()
command -v tpm2_createek >/dev/null || missing+=(tpm2-tools)
command -v tpm2_ptool >/dev/null || missing+=(libtpm2-pkcs11-tools)
command -v openssl >/dev/null || missing+=(openssl)
module=$(compgen -G '/usr/lib/*/pkcs11/libtpm2_pkcs11.so' || compgen -G '/usr/lib*/pkcs11/libtpm2_pkcs11.so' || true)
[[ -n $module ]] || missing+=(libtpm2-pkcs11-1)
[[ -z $log ]] || compgen -G '/usr/lib*/*/ossl-modules/tpm2.so' >/dev/null || compgen -G '/usr/lib*/ossl-modules/tpm2.so' >/dev/null ||
    missing+=(tpm2-openssl)
((${#missing[@]} == 0)) || die "missing: apt-get install --no-install-recommends ${missing[*]}" 4
module=${module%%$'\n'*}
if [[ $tcti == device:* ]]; then
    device=${tcti#device:}
    [[ -e $device ]] || die "no $device: enable the TPM first (firmware-config/README.md), or give --tcti" 3
    [[ $device == *tpmrm* ]] || die "$device has no resource manager: use /dev/tpmrm0" 3
    [[ -r $device && -w $device ]] || die "$device cannot be opened: run as root, or join the group tss"
fi

mkdir -p "$state"
state=$(cd "$state" && pwd)
store=$state/store secrets=$state/secrets evidence=$state/evidence draft=$state/key.new tls=$state/tls
mkdir -p "$store" "$secrets" "$evidence"
chmod 700 "$state" "$store" "$secrets" "$evidence"
exec 9>"$state/.provision.lock"
flock 9
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TPM2TOOLS_TCTI=$tcti TPM2_PKCS11_TCTI=$tcti TPM2_PKCS11_STORE=$store

# Without the kernel's resource manager every tool leaves its objects in one of the TPM's three slots: flush them after each.
if [[ $tcti != device:* ]]; then
    mkdir "$work/bin"
    for tool in $(compgen -c tpm2_ | sort -u); do
        case $tool in tpm2_ptool | tpm2_flushcontext | tpm2_startauthsession | tpm2_policy*) continue ;; esac
        real=$(type -P "$tool")
        cat >"$work/bin/$tool" <<SHIM
#!/bin/sh
"$real" "\$@"; code=\$?
tpm2_flushcontext -t >/dev/null 2>&1; tpm2_flushcontext -l >/dev/null 2>&1
exit \$code
SHIM
        chmod 755 "$work/bin/$tool"
    done
    PATH=$work/bin:$PATH
fi

variable() { tpm2_getcap properties-variable | sed -n "s/^ *$1: *//p"; }
draw() { head -c 16 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }
has_handle() { tpm2_getcap handles-persistent | grep -ci "^- $1\$" >/dev/null; }
has_nv() { tpm2_getcap handles-nv-index | grep -ci "^- $1\$" >/dev/null; }
secret() { # keeps a secret of this name: drawn once, on disk before it is used
    local file=$secrets/$1
    if [[ ! -s $file ]]; then
        draw >"$file.new"
        sync "$file.new"
        mv "$file.new" "$file"
        sync "$secrets"
    fi
    cat "$file"
}

# ---- Lock-out: each power cut after a login counts one try, so the shipped limit would lock a device in the field --------

if [[ $(variable inLockout) == 1 ]]; then
    die "the TPM is in lock-out: wait, or tpm2_dictionarylockout --clear-lockout -p file:$secrets/lockout.auth" 3
fi
limits=(--setup-parameters --max-tries=$MAX_TRIES --recovery-time=$RECOVERY_S --lockout-recovery-time=$LOCKOUT_RECOVERY_S)
if [[ $(variable lockoutAuthSet) == 0 ]]; then
    say "lock-out: $MAX_TRIES tries, one forgiven every $RECOVERY_S s, and an authorisation of our own"
    tpm2_dictionarylockout "${limits[@]}"
    secret lockout.auth >/dev/null
    tpm2_changeauth -c lockout "file:$secrets/lockout.auth"
elif [[ -s $secrets/lockout.auth ]]; then
    tpm2_dictionarylockout "${limits[@]}" -p "file:$secrets/lockout.auth"
else
    die "the lock-out authorisation was set by somebody else: put it into $secrets/lockout.auth, then repeat" 3
fi

# ---- Endorsement key: the kind for which the maker left a certificate ----------------------------------------------------

ek=$EK_ECC kind=ecc certificate=''
if has_nv $CERTIFICATE_ECC; then
    certificate=$CERTIFICATE_ECC
elif has_nv $CERTIFICATE_RSA; then
    ek=$EK_RSA kind=rsa certificate=$CERTIFICATE_RSA
fi
if ! has_handle $ek; then
    say "endorsement key ($kind) at $ek"
    tpm2_createek -Q -G $kind -c $ek -u "$work/ek.pub"
fi
tpm2_readpublic -Q -c $ek -f pem -o "$evidence/ek.pem"
tpm2_readpublic -Q -c $ek -f tss -o "$evidence/ek.pub"
rm -f "$evidence/ek.crt"
if [[ -n $certificate ]]; then
    tpm2_nvread -Q -C o "$certificate" -o "$work/ek.crt"
    openssl x509 -inform der -in "$work/ek.crt" -outform der -out "$evidence/ek.crt" # drops what the maker padded it with
    openssl x509 -inform der -in "$evidence/ek.crt" -noout -pubkey | openssl pkey -pubin -outform der >"$work/certified"
    openssl pkey -pubin -in "$evidence/ek.pem" -outform der | cmp -s - "$work/certified" ||
        die "the certificate in the TPM is not that of its endorsement key" 3
    say "endorsement key certified by: $(openssl x509 -inform der -in "$evidence/ek.crt" -noout -issuer)"
else
    say "no endorsement key certificate in this TPM: it can be enrolled as tpm-unverified only"
fi

# ---- Attestation key and storage parent ----------------------------------------------------------------------------------

if ! has_handle $AK; then
    say "attestation key at $AK"
    tpm2_createak -Q -C $ek -G ecc -g sha256 -s ecdsa -c "$work/ak.ctx" -u "$work/ak.pub" -n "$work/ak.name"
    tpm2_evictcontrol -Q -C o -c "$work/ak.ctx" $AK
fi
tpm2_readpublic -Q -c $AK -f pem -o "$evidence/ak.pem" -n "$evidence/ak.name" >/dev/null
tpm2_readpublic -Q -c $AK -f tss -o "$evidence/ak.pub"
tpm2_readpublic -c $AK | grep -c 'fixedtpm|.*restricted|.*sign' >/dev/null ||
    die "the key at $AK is no restricted signing key of this TPM: somebody else uses this handle" 3
if ! has_handle $SRK; then
    say "storage parent at $SRK"
    tpm2_createprimary -Q -C o -G ecc256 -g sha256 -c "$work/srk.ctx"
    tpm2_evictcontrol -Q -C o -c "$work/srk.ctx" $SRK
fi

# ---- Counter: rises with each attest record, and the TPM lets nothing lower it, not even its removal ------------------------

if ! has_nv $COUNTER; then
    say "NV counter at $COUNTER"
    tpm2_nvdefine -Q $COUNTER -C o -s 8 -a 'ownerread|ownerwrite|authread|authwrite|no_da|nt=counter'
fi
tpm2_nvreadpublic $COUNTER | grep -c 'nt=0x1\|nt=counter' >/dev/null ||
    die "the NV index $COUNTER is no counter: somebody else uses it" 3
tpm2_nvread -Q -C o -s 8 $COUNTER >/dev/null 2>&1 || tpm2_nvincrement -Q -C o $COUNTER # its first value gives it its name

# ---- Token -----------------------------------------------------------------------------------------------------------

user_pin=$(secret "$token.pin") so_pin=$(secret "$token.so-pin")
parent_id() { tpm2_ptool listprimaries | awk '/^[- ] id: / && !found { print $NF; found = 1 }'; }
parent=$(parent_id)
if [[ -z $parent ]]; then
    tpm2_ptool init --primary-handle=$SRK >/dev/null
    parent=$(parent_id)
fi
if ! tpm2_ptool listtokens --pid="$parent" | grep -c "label: *$token\$" >/dev/null; then
    say "token $token"
    tpm2_ptool addtoken --pid="$parent" --label="$token" --sopin="$so_pin" --userpin="$user_pin" >/dev/null
fi

# ---- The signing key: made, certified and only then linked; what was not linked was never used and is made anew --------

has_key() { tpm2_ptool listobjects --label="$token" | grep -c "^ *CKA_LABEL: *'\?$key'\?\$" >/dev/null; }
if ! has_key; then
    say "signing key $key, certified by the attestation key"
    rm -rf "$draft"
    mkdir "$draft"
    draw >"$draft/auth"
    tpm2_create -Q -C $SRK -G ecc256 -g sha256 -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign|noda' \
        -p "file:$draft/auth" -u "$draft/key.pub" -r "$draft/key.priv" \
        --creation-data "$draft/creation.data" -d "$draft/creation.hash" -t "$draft/creation.ticket"
    tpm2_load -Q -C $SRK -u "$draft/key.pub" -r "$draft/key.priv" -c "$work/key.ctx" -n "$draft/key.name"
    tpm2_readpublic -Q -c "$work/key.ctx" -f pem -o "$draft/key.pem"
    tpm2_certify -Q -c "$work/key.ctx" -C $AK -P "file:$draft/auth" -g sha256 -o "$draft/certify.attest" -s "$draft/certify.sig" -f plain
    sync "$draft"/*
    tpm2_ptool link --label="$token" --userpin="$user_pin" --key-label="$key" --auth="$(cat "$draft/auth")" \
        "$draft/key.pub" "$draft/key.priv" >/dev/null
    # Durable: the token has the key, its authorisation sealed under the PIN; a repetition keeps it and the files beside it.
fi
if [[ -d $draft ]]; then
    rm -f "$draft/auth"
    mv "$draft"/* "$evidence/"
    rmdir "$draft"
fi
hex() { od -An -v -tx1 | tr -d ' \n'; }
check_certified() { # that the attestation key certified the key whose files lie in this folder
    openssl dgst -sha256 -verify "$evidence/ak.pem" -signature "$1/certify.sig" "$1/certify.attest" >/dev/null ||
        die "the certificate of the key in $1 does not verify under the attestation key at $AK" 3
    hex <"$1/certify.attest" | grep -c "000b$(tail -c +3 "$1/key.pub" | sha256sum | cut -d' ' -f1)" >/dev/null ||
        die "the attestation key certified another key than $1/key.pub" 3
}
check_certified "$evidence"

# ---- The key for TLS: one of its own, as a client proves who it is with it to whoever it connects to ---------------------------

make_tls_key() { # writes what OpenSSL's provider gives to the TPM: the key, wrapped by it, of no use anywhere else
    rm -rf "$tls.new"
    mkdir "$tls.new"
    tpm2_create -Q -C $SRK -G ecc256 -g sha256 -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign|noda' \
        -u "$tls.new/key.pub" -r "$tls.new/key.priv"
    tpm2_load -Q -C $SRK -u "$tls.new/key.pub" -r "$tls.new/key.priv" -c "$work/tls.ctx"
    tpm2_certify -Q -c "$work/tls.ctx" -C $AK -g sha256 -o "$tls.new/certify.attest" -s "$tls.new/certify.sig" -f plain
    cat >"$work/tls.asn1" <<ASN1
asn1 = SEQUENCE:key
[key]
type = OID:2.23.133.10.1.3
empty-auth = EXPLICIT:0,BOOLEAN:TRUE
parent = INTEGER:$SRK
public = FORMAT:HEX,OCTETSTRING:$(hex <"$tls.new/key.pub")
private = FORMAT:HEX,OCTETSTRING:$(hex <"$tls.new/key.priv")
ASN1
    openssl asn1parse -noout -genconf "$work/tls.asn1" -out "$work/tls.der"
    { echo '-----BEGIN TSS2 PRIVATE KEY-----'; base64 -w 64 "$work/tls.der"; echo '-----END TSS2 PRIVATE KEY-----'; } >"$tls.new/key.pem"
    sync "$tls.new"/*
    mv "$tls.new" "$tls"
    sync "$state"
    # Durable: the key's files; a repetition keeps them, and makes the request anew where it is missing or for another name.
}

make_request() { # PKCS#10, put together here: what OpenSSL's provider writes has an algorithm identifier that strict readers refuse
    tpm2_load -Q -C $SRK -u "$tls/key.pub" -r "$tls/key.priv" -c "$work/tls.ctx"
    tpm2_readpublic -Q -c "$work/tls.ctx" -f pem -o "$work/tls.pub"
    cat >"$work/info.asn1" <<ASN1
[info]
version = INTEGER:0
subject = SEQUENCE:subject
key = SEQUENCE:key
attributes = IMPLICIT:0,SET:none
[subject]
name = SET:name
[name]
name = SEQUENCE:common-name
[common-name]
type = OID:commonName
value = UTF8:$log
[key]
algorithm = SEQUENCE:curve
point = FORMAT:HEX,BITSTRING:$(openssl pkey -pubin -in "$work/tls.pub" -outform der | tail -c 65 | hex)
[curve]
type = OID:id-ecPublicKey
name = OID:prime256v1
[none]
ASN1
    { echo 'asn1 = SEQUENCE:info'; cat "$work/info.asn1"; } >"$work/signed.asn1"
    openssl asn1parse -noout -genconf "$work/signed.asn1" -out "$work/info.der"
    tpm2_sign -Q -c "$work/tls.ctx" -g sha256 -s ecdsa -f plain -o "$work/info.sig" "$work/info.der"
    cat - "$work/info.asn1" >"$work/request.asn1" <<ASN1
asn1 = SEQUENCE:request
[request]
info = SEQUENCE:info
algorithm = SEQUENCE:algorithm
signature = FORMAT:HEX,BITSTRING:$(hex <"$work/info.sig")
[algorithm]
type = OID:ecdsa-with-SHA256
ASN1
    openssl asn1parse -noout -genconf "$work/request.asn1" -out "$work/request.der"
    openssl req -inform der -in "$work/request.der" -verify -out "$tls/request.new" 2>/dev/null
    mv "$tls/request.new" "$tls/request.csr"
}

if [[ -n $log ]]; then
    if [[ ! -d $tls ]]; then
        say "TLS key, certified by the attestation key"
        make_tls_key
    fi
    check_certified "$tls"
    if [[ $(openssl req -in "$tls/request.csr" -noout -verify -subject -nameopt RFC2253 2>/dev/null) != "subject=CN=$log" ]]; then
        say "certificate request $tls/request.csr"
        make_request
    fi
fi

find "$state" -type f -exec chmod 600 {} +
pin="pin_file: $secrets/$token.pin"
if [[ -n $owner ]]; then
    chmod 711 "$state"
    chown -R "$owner" "$store" "$evidence"
    [[ ! -d $tls ]] || chown -R "$owner" "$tls"
    pin="pin_credential: $token-pin   # LoadCredential=$token-pin:$secrets/$token.pin"
fi
say "ready; lock-out counter $(($(variable TPM2_PT_LOCKOUT_COUNTER))) of $(($(variable TPM2_PT_MAX_AUTH_FAIL)))"
cat <<YAML
key:
  module: $module
  token: $token
  label: $key
  $pin
  environment: {TPM2_PKCS11_STORE: $store, TPM2_PKCS11_TCTI: "$tcti"}
tpm:
  evidence_dir: $evidence
  tcti: "$tcti"
  counter: "$COUNTER"
YAML
if [[ -n $log ]]; then
    cat <<YAML
# For the section mqtt, once the broker's authority has made a certificate of $tls/request.csr:
#   cert_file: ...
#   tls_key: tpm
#   key_file: $tls/key.pem
#   tls_tcti: "$tcti"
YAML
fi
