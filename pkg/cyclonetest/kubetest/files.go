package kubetest

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
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// files are the paths that the processes are started with.
type files struct{ etcd, cert, key, tokens, kubeconfig string }

func (c *Cluster) writeFiles(address string) (files, error) {
	f := files{
		etcd: filepath.Join(c.dir, "etcd"), cert: filepath.Join(c.dir, "server.crt"), key: filepath.Join(c.dir, "server.key"),
		tokens: filepath.Join(c.dir, "tokens.csv"), kubeconfig: c.Kubeconfig(),
	}
	// What an attempt before left must not join this one.
	if err := os.RemoveAll(f.etcd); err != nil {
		return f, err
	}
	ca, cert, key, err := certificates(address)
	if err != nil {
		return f, err
	}
	c.ca = ca
	for path, content := range map[string][]byte{
		f.cert: cert, f.key: key, f.tokens: []byte(c.token + `,admin,admin,"system:masters"` + "\n"),
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return f, err
		}
	}
	return f, c.writeKubeconfig()
}

func (c *Cluster) writeKubeconfig() error {
	k := clientcmdapi.NewConfig()
	k.Clusters["test"] = &clientcmdapi.Cluster{Server: c.host, CertificateAuthorityData: c.ca}
	k.AuthInfos["admin"] = &clientcmdapi.AuthInfo{Token: c.token}
	k.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "admin"}
	k.CurrentContext = "test"
	return clientcmd.WriteToFile(*k, c.Kubeconfig())
}

// certificates makes an authority and a server certificate of it, in PEM. The
// server certificate is good for the address, loopback and the names under
// which containers know their host.
func certificates(address string) (ca, cert, key []byte, err error) {
	ip := net.ParseIP(address)
	if ip == nil {
		return nil, nil, nil, fmt.Errorf("%q is not an IP address to listen on", address)
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, nil, err
	}
	authority := template(1, "cyclone-kubetest")
	authority.IsCA, authority.BasicConstraintsValid, authority.KeyUsage = true, true, x509.KeyUsageCertSign
	caDER, err := x509.CreateCertificate(rand.Reader, authority, authority, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, nil, nil, err
	}
	serverKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, nil, err
	}
	server := template(2, "kube-apiserver")
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	server.IPAddresses = []net.IP{ip, net.IPv4(127, 0, 0, 1)}
	server.DNSNames = []string{"localhost", "host.docker.internal", "kubernetes"}
	serverDER, err := x509.CreateCertificate(rand.Reader, server, authority, &serverKey.PublicKey, caKey)
	if err != nil {
		return nil, nil, nil, err
	}
	keyDER, err := x509.MarshalECPrivateKey(serverKey)
	if err != nil {
		return nil, nil, nil, err
	}
	return encode("CERTIFICATE", caDER), encode("CERTIFICATE", serverDER), encode("EC PRIVATE KEY", keyDER), nil
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
