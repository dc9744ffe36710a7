// The version of go-pkcs12 that External Secrets 2.9.0 is built with.
module acm-export/pkcs12

go 1.19

require software.sslmate.com/src/go-pkcs12 v0.7.0

require golang.org/x/crypto v0.11.0 // indirect
