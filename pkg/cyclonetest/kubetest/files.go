package kubetest

import (
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"cyclone/pkg/cyclonetest/testcert"
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
	made, err := testcert.New(address)
	if err != nil {
		return f, err
	}
	c.ca = made.CA
	for path, content := range map[string][]byte{
		f.cert: made.Cert, f.key: made.Key, f.tokens: []byte(c.token + `,admin,admin,"system:masters"` + "\n"),
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
