// Certificates by njs's shared dictionary: read on a miss, kept until they are cleared.

import fs from 'fs';

function pem(r, kind) {
    let name = r.variables.ssl_server_name;
    let key = name + kind;
    let text = ngx.shared.certs.get(key);
    if (text === undefined) {
        text = fs.readFileSync(r.variables.certs_directory + '/' + key, 'utf8');
        ngx.shared.certs.set(key, text);
    }
    return text;
}

function certificate(r) {
    return pem(r, '.cert.pem');
}

function key(r) {
    return pem(r, '.key.pem');
}

export default { certificate, key };
