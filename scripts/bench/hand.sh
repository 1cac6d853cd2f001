#!/bin/sh
# What a person would write to do the work of the example's five stages with
# docker, git and kubectl. It runs in a container made like a worker's, and
# starts the engine in it first. The settings come from the environment:
# URL SHA IMAGE REGISTRY NAMESPACE, and KUBE_* for the rollout. What begins is
# said after ==, so that it can be held against an event's stages.
set -e

dockerd --registry-mirror "http://$REGISTRY" --insecure-registry "$REGISTRY" >/var/log/dockerd.log 2>&1 &
until docker version >/dev/null 2>&1; do sleep 0.1; done

echo '== clone'
git init -q /var/lib/docker/source
cd /var/lib/docker/source
git fetch -q --depth 1 "$URL" "$SHA"
git checkout -q FETCH_HEAD

echo '== pre_build'
docker pull -q golang:1.26
echo '== commands'
docker run --name pre_build -v "$PWD:/root/shop" -w /root/shop -e CGO_ENABLED=0 golang:1.26 sh -ec '
go build -o /out/shop .
go test -c -o /out/shop.test .'
docker cp pre_build:/out/shop publish/shop
docker cp pre_build:/out/shop.test publish/shop.test
docker rm pre_build >/dev/null

echo '== build'
docker build -q -t "$IMAGE" -f publish/Dockerfile_publish publish
echo '== push'
docker push -q "$IMAGE"

echo '== integration'
answers() {
  ip=$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$1")
  until bash -c "exec 3<>/dev/tcp/$ip/$2" 2>/dev/null; do sleep 0.1; done
}
docker pull -q postgres:17
docker network create integration >/dev/null
docker run -d --network integration --name postgres -e POSTGRES_USER=shop -e POSTGRES_PASSWORD=shop postgres:17 >/dev/null
answers postgres 5432
docker run -d --network integration --name app -e 'DATABASE_URL=postgres://shop:shop@postgres/shop?sslmode=disable' "$IMAGE" >/dev/null
answers app 8080
docker run --rm --network integration -v "$PWD:/workspace" -w /workspace -e SHOP_URL=http://app:8080 "$IMAGE" sh -ec '
wget -q -O - $SHOP_URL/healthz
shop.test -test.v -test.run TestIntegration'
docker rm -f app postgres >/dev/null
docker network rm integration >/dev/null

echo '== post_build'
docker pull -q busybox:1
docker run --rm -v "$PWD:/workspace" -w /workspace -e CYCLONE_IMAGE="$IMAGE" busybox:1 sh -ec '
echo "$CYCLONE_IMAGE is published"
ls -l publish'

echo '== deploy'
digest=$(docker inspect --format '{{index .RepoDigests 0}}' "$IMAGE")
/bench/bench rollout "$digest"
echo '== end'
