# Makes the certificates of the tests, in the folder that it is run in. "missing" means that openssl is not installed.
set -eu
umask 077
command -v openssl >/dev/null || {
    echo missing
    exit 1
}

# Not the system's configuration: what it adds to certificates differs.
export OPENSSL_CONF="$PWD/openssl.cnf"
printf '%s\n' '[req]' 'distinguished_name = name' '[name]' '[authority]' 'basicConstraints = critical, CA:TRUE' >openssl.cnf

new_key='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'

# authority NAME
authority() {
    openssl req -x509 $new_key -keyout "$1.key" -out "$1.crt" -days 2 -subj "/CN=$1" -extensions authority 2>&1
}

# certificate NAME AUTHORITY COMMON-NAME EXTENSION
certificate() {
    openssl req -new $new_key -keyout "$1.key" -out "$1.csr" -subj "/CN=$3" 2>&1
    echo "$4" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -days 2 -extfile "$1.ext" -out "$1.crt" 2>&1
}

authority authority
authority stranger
certificate server authority localhost 'subjectAltName = DNS:localhost'
certificate client authority postgres 'extendedKeyUsage = clientAuth'
certificate other_user authority somebody 'extendedKeyUsage = clientAuth'
certificate forged stranger postgres 'extendedKeyUsage = clientAuth'
