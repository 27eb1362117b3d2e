use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};

/// Made for these tests only, since `ring` cannot make RSA keys.
const RSA_KEY: &[u8] = include_bytes!("rs256.pk8");

/// Signs tokens, with one key for each algorithm.
pub struct Minter {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    Rs256,
    Es256,
}

impl Minter {
    pub(super) fn new() -> Self {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self {
            rsa: RsaKeyPair::from_pkcs8(RSA_KEY).unwrap(),
            ec: EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap(),
        }
    }

    /// The public keys as `/jwks` shows them.
    pub fn jwks(&self) -> Value {
        let rsa: ring::rsa::PublicKeyComponents<Vec<u8>> = self.rsa.public().into();
        let point = self.ec.public_key().as_ref();
        json!({"keys": [
            {"kty": "RSA", "kid": "rsa-1", "use": "sig", "alg": "RS256", "n": encode(&rsa.n), "e": encode(&rsa.e)},
            {"kty": "EC", "kid": "ec-1", "use": "sig", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..])},
        ]})
    }

    /// The RSA key's modulus: what forgers use as a secret.
    pub fn rsa_modulus(&self) -> Vec<u8> {
        let rsa: ring::rsa::PublicKeyComponents<Vec<u8>> = self.rsa.public().into();
        rsa.n
    }

    pub fn mint(&self, signing: Signing, claims: &Value) -> String {
        let header = match signing {
            Signing::Rs256 => json!({"alg": "RS256", "kid": "rsa-1", "typ": "at+jwt"}),
            Signing::Es256 => json!({"alg": "ES256", "kid": "ec-1", "typ": "at+jwt"}),
        };
        self.mint_with(signing, &header, claims)
    }

    /// A sound signature under any header.
    pub fn mint_with(&self, signing: Signing, header: &Value, claims: &Value) -> String {
        seal(header, claims, |text| self.sign(signing, text))
    }

    fn sign(&self, signing: Signing, text: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match signing {
            Signing::Es256 => self.ec.sign(&random, text).unwrap().as_ref().to_vec(),
            Signing::Rs256 => {
                let mut sealed = vec![0; self.rsa.public().modulus_len()];
                self.rsa
                    .sign(&RSA_PKCS1_SHA256, &random, text, &mut sealed)
                    .unwrap();
                sealed
            }
        }
    }
}

/// A compact JWS with whatever `sign` makes of its text.
pub fn seal(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| encode(value.to_string().as_bytes());
    let text = format!("{}.{}", part(header), part(claims));
    let sealed = sign(text.as_bytes());
    format!("{text}.{}", encode(&sealed))
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
