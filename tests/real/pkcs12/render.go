// Renders the templates of an ExternalSecret. The functions pkcs12keyPass and pkcs12certPass make the calls that those of
// External Secrets 2.9.0 make (runtime/template/v2/pkcs12.go): go-pkcs12 DecodeChain, then PEM of what it gives. They leave
// out that External Secrets sorts the chain once more.
//
// Reads {"Templates": {…}, "Values": {…}} and prints what they render to, as JSON.
package main

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"text/template"

	pkcs12 "software.sslmate.com/src/go-pkcs12"
)

var functions = template.FuncMap{
	"b64dec": func(text string) (string, error) {
		decoded, err := base64.StdEncoding.DecodeString(text)
		return string(decoded), err
	},
	"pkcs12keyPass": func(passphrase, file string) (string, error) {
		key, _, _, err := pkcs12.DecodeChain([]byte(file), passphrase)
		if err != nil {
			return "", err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		return block("PRIVATE KEY", der), err
	},
	"pkcs12certPass": func(passphrase, file string) (string, error) {
		_, leaf, chain, err := pkcs12.DecodeChain([]byte(file), passphrase)
		if err != nil {
			return "", err
		}
		text := block("CERTIFICATE", leaf.Raw)
		for _, authority := range chain {
			text += block("CERTIFICATE", authority.Raw)
		}
		return text, nil
	},
}

func block(label string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
}

func render() error {
	var given struct{ Templates, Values map[string]string }
	if err := json.NewDecoder(os.Stdin).Decode(&given); err != nil {
		return err
	}
	rendered := map[string]string{}
	for name, text := range given.Templates {
		parsed, err := template.New(name).Option("missingkey=error").Funcs(functions).Parse(text)
		if err != nil {
			return err
		}
		var output bytes.Buffer
		if err := parsed.Execute(&output, given.Values); err != nil {
			return err
		}
		rendered[name] = output.String()
	}
	return json.NewEncoder(os.Stdout).Encode(rendered)
}

func main() {
	if err := render(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
