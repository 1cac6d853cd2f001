// Package testcert makes TLS certificates for servers that tests and the demo
// start: an authority of their own and a certificate signed by it.
//
// It is not for anything that lives longer than a day.
package testcert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// Certificate is a server's certificate with its key and authority, all PEM.
type Certificate struct{ CA, Cert, Key []byte }

// New makes a certificate that is good for a day and for the IP address,
// loopback, and the names under which containers know their host.
func New(address string) (Certificate, error) {
	ip := net.ParseIP(address)
	if ip == nil {
		return Certificate{}, fmt.Errorf("make certificate: %q is not an IP address", address)
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Certificate{}, err
	}
	// Authorities of the same name would be taken for one another.
	authority := template(1, "cyclone-test-"+rand.Text()[:8])
	authority.IsCA, authority.BasicConstraintsValid, authority.KeyUsage = true, true, x509.KeyUsageCertSign
	caDER, err := x509.CreateCertificate(rand.Reader, authority, authority, &caKey.PublicKey, caKey)
	if err != nil {
		return Certificate{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Certificate{}, err
	}
	server := template(2, "cyclone-test-server")
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	server.IPAddresses = []net.IP{ip, net.IPv4(127, 0, 0, 1)}
	server.DNSNames = []string{"localhost", "host.docker.internal"}
	der, err := x509.CreateCertificate(rand.Reader, server, authority, &key.PublicKey, caKey)
	if err != nil {
		return Certificate{}, err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return Certificate{}, err
	}
	return Certificate{CA: encode("CERTIFICATE", caDER), Cert: encode("CERTIFICATE", der), Key: encode("EC PRIVATE KEY", keyDER)}, nil
}

func template(serial int64, name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
