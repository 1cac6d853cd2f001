package httpapi

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"cyclone/pkg/cyclone"
)

// clusterBody is a cluster in requests. Token and CA never leave again.
type clusterBody struct {
	cyclone.Cluster
	Token string `json:"token,omitempty"`
	CA    string `json:"ca,omitempty"` // PEM, or base64 of it
}

func (b *clusterBody) access() cyclone.ClusterAccess {
	return cyclone.ClusterAccess{Host: b.Host, Token: b.Token, CA: b.CA, Insecure: b.Insecure}
}

// check reports everything that is wrong with a cluster at once.
func (b *clusterBody) check() error {
	var bad cyclone.InvalidError
	checkName("name", string(b.Name), &bad)
	checkText("description", b.Description, 2000, &bad)
	if problem := clusterHostProblem(b.Host); problem != "" {
		bad.Add("host", "%s", problem)
	} else if strings.HasPrefix(strings.ToLower(b.Host), "http:") && !b.Insecure {
		bad.Add("host", "must begin with https://; plain http:// needs insecure: true, because the token can be stolen on the way")
	}
	if b.Token == "" {
		bad.Add("token", "is required: the token of a service account that may change deployments")
	} else if hasControl(b.Token) || strings.Contains(b.Token, " ") {
		bad.Add("token", "must not hold blanks or line ends")
	}
	if b.CA != "" && !validCA(b.CA) {
		bad.Add("ca", "must be certificates in PEM form, or base64 of that")
	}
	for i, namespace := range b.Namespaces {
		checkName("namespaces["+strconv.Itoa(i)+"]", namespace, &bad)
	}
	for i, project := range b.Projects {
		checkName("projects["+strconv.Itoa(i)+"]", project, &bad)
	}
	return bad.OrNil()
}

func clusterHostProblem(host string) string {
	u, err := url.Parse(host)
	switch {
	case host == "":
		return "is required"
	case err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "":
		return "must be the address of an API server, like https://10.0.0.1:6443"
	case u.User != nil:
		return "must not hold a credential; use token"
	}
	return ""
}

func validCA(ca string) bool {
	data := []byte(ca)
	if plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(ca)); err == nil {
		data = plain
	}
	block, _ := pem.Decode(data)
	return block != nil && block.Type == "CERTIFICATE"
}

func clusterName(r *http.Request) cyclone.ClusterName {
	return cyclone.ClusterName(mux.Vars(r)["cluster"])
}

// cluster finds the cluster of the address.
func (s *Server) cluster(r *http.Request) (*cyclone.Cluster, error) {
	c, err := s.Clusters.Find(r.Context(), clusterName(r))
	if err != nil {
		return nil, notFound(err, "cluster %q does not exist", clip(string(clusterName(r)), 60))
	}
	return c, nil
}

func (s *Server) listClusters(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	page := q.page()
	if err := q.bad.OrNil(); err != nil {
		return err
	}
	list, err := s.Clusters.List(r.Context(), page)
	if err != nil {
		return fmt.Errorf("list clusters: %w", err)
	}
	for _, c := range list.Items {
		noNulls(c)
	}
	return show(w, listOf(list))
}

func (s *Server) showCluster(w http.ResponseWriter, r *http.Request) error {
	c, err := s.cluster(r)
	if err != nil {
		return err
	}
	return show(w, noNulls(c))
}

// noNulls makes a cluster's empty lists be written as [].
func noNulls(c *cyclone.Cluster) *cyclone.Cluster {
	if c.Namespaces == nil {
		c.Namespaces = []string{}
	}
	if c.Projects == nil {
		c.Projects = []string{}
	}
	return c
}

func (s *Server) createCluster(w http.ResponseWriter, r *http.Request) error {
	var body clusterBody
	if err := allWrong(readJSON(w, r, &body), body.check); err != nil {
		return err
	}
	c := &body.Cluster
	if err := s.sealAccess(c, body.access()); err != nil {
		return err
	}
	c.CreatedAt = cyclone.Stamp(time.Now())
	c.UpdatedAt, c.Revision = c.CreatedAt, 0
	if err := s.Clusters.Create(r.Context(), noNulls(c)); errors.Is(err, cyclone.ErrConflict) {
		return cyclone.Conflict("cluster %q exists already", c.Name)
	} else if err != nil {
		return fmt.Errorf("create cluster: %w", err)
	}
	return created(w, "/api/v1/clusters/"+string(c.Name), c)
}

func (s *Server) sealAccess(c *cyclone.Cluster, access cyclone.ClusterAccess) error {
	plain, err := json.Marshal(access)
	if err != nil {
		return fmt.Errorf("encode cluster access: %w", err)
	}
	if c.Access, err = s.Sealer.Seal(c.Purpose(), plain); err != nil {
		return fmt.Errorf("seal cluster access: %w", err)
	}
	return nil
}

func (s *Server) openAccess(c *cyclone.Cluster) (access cyclone.ClusterAccess, err error) {
	plain, err := s.Sealer.Open(c.Purpose(), c.Access)
	if err != nil {
		return access, fmt.Errorf("open access of cluster %s: %w", c.Name, err)
	}
	if err := json.Unmarshal(plain, &access); err != nil {
		return access, fmt.Errorf("decode access of cluster %s: %w", c.Name, err)
	}
	return access, nil
}

func (s *Server) patchCluster(w http.ResponseWriter, r *http.Request) error {
	patch, err := readPatch(w, r)
	if err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		old, err := s.cluster(r)
		if err != nil {
			return err
		}
		c, err := s.patchedCluster(old, patch)
		if err != nil {
			return err
		}
		err = s.Clusters.Replace(r.Context(), c)
		if err == nil {
			return show(w, c)
		}
		if !errors.Is(err, cyclone.ErrConflict) || attempt == writeAttempts {
			return fmt.Errorf("save cluster: %w", err)
		}
	}
}

// patchedCluster is old after the patch. Another host needs its own token:
// otherwise the stored one could be had by pointing the cluster elsewhere.
func (s *Server) patchedCluster(old *cyclone.Cluster, patch map[string]any) (*cyclone.Cluster, error) {
	access, err := s.openAccess(old)
	if err != nil {
		return nil, err
	}
	tree, err := patched(clusterBody{Cluster: *old, CA: access.CA}, patch)
	if err != nil {
		return nil, err
	}
	var body clusterBody
	err = allWrong(decodeTree(tree, &body), func() error { return body.succeed(old, access) })
	if err != nil {
		return nil, err
	}
	c := &body.Cluster
	c.CreatedAt, c.UpdatedAt, c.Revision = old.CreatedAt, cyclone.Stamp(time.Now()), old.Revision
	return noNulls(c), s.sealAccess(c, body.access())
}

// succeed checks the successor of a cluster and gives it the token it keeps.
func (b *clusterBody) succeed(old *cyclone.Cluster, access cyclone.ClusterAccess) error {
	var bad cyclone.InvalidError
	if b.Name != old.Name {
		bad.Add("name", "cannot be changed")
	}
	switch {
	case b.Token != "":
	case b.Host != access.Host:
		bad.Add("token", "is required when host changes")
	default:
		b.Token = access.Token
	}
	return allWrong(bad.OrNil(), b.check)
}

func (s *Server) deleteCluster(w http.ResponseWriter, r *http.Request) error {
	c, err := s.cluster(r)
	if err != nil {
		return err
	}
	if err := s.Clusters.Delete(r.Context(), c.Name); err != nil {
		return notFound(err, "cluster %q does not exist", c.Name)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// checkTimeout is how long a cluster may take to answer a check.
const checkTimeout = 15 * time.Second

// clusterCheck is what became of a check.
type clusterCheck struct {
	OK      bool   `json:"ok"`
	Message string `json:"message"`
}

func (s *Server) checkCluster(w http.ResponseWriter, r *http.Request) error {
	c, err := s.cluster(r)
	if err != nil {
		return err
	}
	if s.CheckCluster == nil {
		return cyclone.Unavailable("this server cannot reach clusters")
	}
	access, err := s.openAccess(c)
	if err != nil {
		return err
	}
	takeTime(r)
	ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
	defer cancel()
	if err := s.CheckCluster(ctx, access); err != nil {
		return show(w, clusterCheck{Message: err.Error()})
	}
	return show(w, clusterCheck{OK: true, Message: "the cluster answers and accepts the token"})
}
