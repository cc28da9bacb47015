-- MySQL dump 10.13  Distrib 8.0.40, for Linux (x86_64); made up
/*!40101 SET NAMES utf8mb4 */;
DROP TABLE IF EXISTS `t_error_logs`;
CREATE TABLE `t_error_logs` (
  `id` int NOT NULL AUTO_INCREMENT,
  `gemini_key` varchar(100) DEFAULT NULL COMMENT 'Gemini API密钥',
  `error_log` longtext COMMENT 'it''s; (long)',
  PRIMARY KEY (`id`)
);
INSERT INTO `t_error_logs` VALUES (1,'AIzaTestKey0009CanaryCanaryCanary','a \'quote\'; INSERT INTO `t_settings` VALUES (9,\'API_KEYS\',\'[\"AIzaTestKey0009CanaryCanaryCanary\"]\',NULL);');
DROP TABLE IF EXISTS `t_settings`;
CREATE TABLE `t_settings` (
  `id` int NOT NULL AUTO_INCREMENT,
  `key` varchar(100) NOT NULL COMMENT '配置项键名',
  `value` longtext COMMENT '配置项值, (JSON)',
  `description` varchar(255) DEFAULT NULL COMMENT '配置项描述',
  `created_at` datetime DEFAULT NULL,
  `updated_at` datetime DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `key` (`key`)
) ENGINE=InnoDB AUTO_INCREMENT=8 DEFAULT CHARSET=utf8mb4;
LOCK TABLES `t_settings` WRITE;
INSERT INTO `t_settings` VALUES (1,'API_KEYS','[\"AIzaTestKey0005CanaryCanaryCanary\", \"AIzaTestKey0006CanaryCanaryCanary\"]','密钥','2026-01-01 00:00:00','2026-01-01 00:00:00'),(2,'ALLOWED_TOKENS','[\"sk-CanaryTokenOfTheDump-0001\"]',NULL,NULL,NULL),(3,'AUTH_TOKEN','sk-CanaryTokenOfTheDump-0002',NULL,NULL,NULL),(4,'BASE_URL','https://generativelanguage.googleapis.com/v1beta',NULL,NULL,NULL),(5,'MAX_RETRIES','0',NULL,NULL,NULL),(6,'PROXIES','[]',NULL,NULL,NULL),(7,'CUSTOM_HEADERS','{}',NULL,NULL,NULL);
UNLOCK TABLES;
