# ---- the links that lead to current ----

is_there() { # path
  [[ -e $1 || -L $1 ]]
}

list_links() { # sets links, and files: links[i] leads to current/files[i]
  links=("$SSL/certs/$CertName-fullchain.pem" "$SSL/certs/$CertName-chain.pem" "$SSL/private/$CertName-privkey.pem")
  files=(fullchain.pem chain.pem privkey.pem)
  [[ $ExtraFormats != *combined-pem* ]] || { links+=("$SSL/private/$CertName-combined.pem") files+=(combined.pem); }
  [[ $ExtraFormats != *pkcs12* ]] || { links+=("$SSL/private/$CertName.p12") files+=(bundle.p12); }
}

# On SLES and Arch each update of the authorities makes the folder anew, and removes other files.
trust_folder_is_generated() {
  [[ -d $ROOT/etc/ca-certificates/extracted ]] || [[ -d $ROOT/var/lib/ca-certificates/pem && -L $SSL/certs ]]
}

# No link is made in the trust folder where it would vanish or make an authority trusted. That of an earlier edition
# stays: a server may read it.
is_wanted() { # index of a link
  [[ ${links[$1]} != "$SSL/certs/"* ]] || is_there "${links[$1]}" ||
    { [[ $authority == public ]] && ! trust_folder_is_generated; }
}
